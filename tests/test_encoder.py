"""The face encoder's training: its losses, what it is shown, and how class weights are shared out."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.ship import ship
from faceflax import config as config_lib
from faceflax import objectives
from faceflax.datasets import images, stream
from faceflax.errors import UserError
from faceflax.evaluation import encoding
from faceflax.files import write_json, write_text
from faceflax.models import face_encoder
from faceflax.models.face_encoder import compact, faceres
from faceflax.training import arms, checkpoints, loop, parallel, teacher, views
from tests import random_networks, tiny
from tests.programs import encoder_steps

RNG = np.random.default_rng(0)


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _config(**fields):
    return tiny.config(**encoder_steps.FIELDS | fields)


class Source(list):
    """Images in memory."""

    fingerprint = "0" * 12


def _source(count, size=40):
    encoded = [images.encode_png(RNG.integers(0, 256, (size, size, 3), np.uint8)) for _ in range(count)]
    return Source({"image": image, "identity": i % 3, "name": b"x"} for i, image in enumerate(encoded))


def test_distillation_and_relation_are_least_where_the_student_is_the_teacher():
    target = _unit(RNG.random((6, 40))).astype(np.float32)
    assert float(objectives.distillation_loss(3 * target, target)) == pytest.approx(0, abs=1e-5)
    assert float(objectives.distillation_loss(-target, target)) == pytest.approx(2, abs=1e-5)
    turned = np.linalg.qr(RNG.standard_normal((40, 40)))[0]
    assert float(objectives.relational_loss(target @ turned, target)) == pytest.approx(0, abs=1e-8)
    same = np.tile(target[:1], (6, 1))
    others = ~np.eye(6, dtype=bool)
    expected = np.square(1 - target @ target.T)[others].mean()
    assert float(objectives.relational_loss(same, target)) == pytest.approx(expected, rel=1e-5)


def test_margin_loss_is_cross_entropy_of_turned_angles():
    cosines = RNG.uniform(-0.9, 0.9, (5, 7)).astype(np.float32)
    label = np.array([0, 2, 3, 3, 4])
    plain, right = objectives.margin_loss(cosines, label, num_classes=5, margin=0.0, scale=10.0)
    expected = optax.softmax_cross_entropy_with_integer_labels(10 * cosines[:, :5], label).mean()
    assert float(plain) == pytest.approx(float(expected), rel=1e-5)
    assert float(right) == pytest.approx(np.mean(cosines[:, :5].argmax(1) == label))
    turned = cosines.copy()
    rows = np.arange(5)
    turned[rows, label] = np.cos(np.arccos(cosines[rows, label]) + 0.5)
    expected = optax.softmax_cross_entropy_with_integer_labels(10 * turned[:, :5], label).mean()
    loss, _ = objectives.margin_loss(cosines, label, num_classes=5, margin=0.5, scale=10.0)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5) and loss > plain


def test_margin_loss_rises_with_the_angle_to_the_end_and_has_a_gradient_there():
    loss = lambda cosine: objectives.margin_loss(  # noqa: E731
        jnp.stack([cosine, 0.1])[None], jnp.zeros(1, int), num_classes=2, margin=0.5, scale=8.0
    )[0]
    values = [float(loss(jnp.float32(cosine))) for cosine in np.linspace(-1, 1, 41)]
    assert (np.diff(values) < 0).all()
    assert np.isfinite([jax.grad(loss)(jnp.float32(cosine)) for cosine in (-1.0, 1.0)]).all()


def test_views_are_their_index_alone_and_keep_the_face():
    dot = np.zeros((64, 96, 96, 3), np.float32)
    dot[:, 48:62, 44:52, 0] = 1.0  # below the middle, where a face's nose is
    key, index = jax.random.key(0), np.arange(64, dtype=np.int32)
    seen = np.asarray(views.view(key, dot, index, 48))
    assert seen.shape == (64, 48, 48, 3) and seen.min() >= 0 and seen.max() <= 1
    np.testing.assert_allclose(seen[5:7], views.view(key, dot[5:7], index[5:7], 48), atol=1e-6)
    light = seen.sum(-1)
    y, x = ((light.sum(axis) * np.arange(48)).sum(1) / light.sum((1, 2)) for axis in (2, 1))
    assert light.sum((1, 2)).min() > 1 and (x > 14).all() and (x < 34).all() and (y > 14).all() and (y < 38).all()
    grey = (np.ptp(seen, axis=-1) < 1e-6).all((1, 2))
    assert 0.25 < grey.mean() < 0.75
    assert len({round(float(value), 3) for value in x}) > 50


@pytest.mark.slow
def test_the_started_encoder_has_faceres_trunk_and_its_head_starts_as_the_mean():
    source = random_networks.face_mobilenet()
    config = _config(encoder__size=64, encoder__blocks=11, encoder__dimension=8).encoder
    params = compact.started(compact.init(config, jax.random.key(0)), source)
    faces = np.asarray(jax.image.resize(RNG.random((2, 8, 8, 3), np.float32), (2, 64, 64, 3), "linear"))
    pooled = faceres.trunk(source, faces * 255, 11).mean((1, 2))
    expected = _unit(pooled @ params["head"]["kernel"])
    np.testing.assert_allclose(compact.embed(params, faces), expected, atol=1e-5)
    stretched = compact.embed(params, np.repeat(np.repeat(faces, 2, 1), 3, 2))
    np.testing.assert_allclose(stretched, expected, atol=0.02)


@pytest.mark.parametrize("fields", [{"encoder__size": 42}, {"encoder__blocks": 14}, {"encoder__blocks": 0}])
def test_sizes_that_make_no_encoder_are_refused(fields):
    with pytest.raises(UserError, match=r"config\.encoder\.(size|blocks)"):
        arms.create(_config(**fields), lambda step: 0.0)


def test_a_margin_needs_people_and_a_training_needs_a_loss():
    for fields in ({"encoder__people": 0}, {"data__label": ""}):
        with pytest.raises(UserError, match="needs to know who is who"):
            arms.create(_config(**fields), lambda step: 0.0)
    nothing = {f"encoder__{name}": 0.0 for name in ("margin", "distillation", "relation")}
    with pytest.raises(UserError, match="no loss a weight"):
        arms.create(_config(**nothing), lambda step: 0.0)


def test_people_beyond_their_number_are_an_error():
    arm = arms.create(_config(encoder__distillation=0.0, encoder__relation=0.0, encoder__people=2), lambda step: 0.0)
    with pytest.raises(
        UserError, match=r"config\.encoder\.people is 2, and the examples' identity goes to 2; set it to 3"
    ):
        arm.prepare(_source(4))
    assert len(arm.prepare(_source(2))) == 2


@pytest.mark.parametrize(("label", "sentence"), [("who", "no feature 'who'; they have"), ("name", "not a class label")])
def test_a_label_that_says_nobody_s_number_is_one_sentence(label, sentence):
    config = _config(encoder__distillation=0.0, encoder__relation=0.0, data__label=label)
    with pytest.raises(UserError, match=sentence):
        arms.create(config, lambda step: 0.0).prepare(_source(4))
    with pytest.raises(UserError, match=sentence):
        encoding.create(_source(4), config)


def test_a_split_to_evaluate_on_is_refused_before_the_teacher_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "describe", lambda source: pytest.fail("it looked"))
    with pytest.raises(UserError, match="shows fewer than two people"):
        loop.train(_config(), tmp_path, _source(4), lambda arm: encoding.create(_source(1), _config()))


def test_other_photographs_of_a_person_are_no_impostors(monkeypatch):
    """Two photographs of each of three people that are exactly alike, seen without change."""
    faces = [images.encode_png(RNG.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(3)]
    source = Source({"image": face, "identity": number} for number, face in enumerate(faces) for _ in range(2))
    monkeypatch.setattr(compact, "embed", lambda params, image: compact.unit(image.reshape(len(image), -1) - 0.5))
    monkeypatch.setattr(views, "view", lambda key, image, index, size: image)
    metrics = {}
    for label in ("identity", ""):
        config = _config(data__label=label, data__image_size=32, eval__tasks=("noise 15",), encoder__size=32)
        config.eval.max_images = 0
        monkeypatch.setattr(encoding, "_FAR", 0.1)
        metrics[label] = encoding.create(source, config)({"network": {}})[0]
    assert set(metrics["identity"].values()) == {1.0}
    assert metrics[""]["rank1"] == 0.5 and metrics[""]["tar"] < 1


def test_what_a_small_split_cannot_measure_is_left_out_or_refused(monkeypatch):
    monkeypatch.setattr(compact, "embed", lambda params, image: compact.unit(image.reshape(len(image), -1) - 0.5))
    config = _config(data__image_size=32, eval__tasks=("noise 15",), encoder__size=32)
    config.eval.max_images = 0
    rank1 = {"rank1", "rank1 clean", "rank1 noise 15"}
    assert set(encoding.create(_source(12, 32), config)({"network": {}})[0]) == rank1  # 96 pairs of different people
    assert set(encoding.create(_source(13, 32), config)({"network": {}})[0]) == rank1 | {
        name.replace("rank1", "tar") for name in rank1
    }
    for few in (_source(1, 32), [], [example | {"identity": 0} for example in _source(12, 32)]):
        with pytest.raises(UserError, match="shows fewer than two people, so that nobody can be mistaken"):
            encoding.create(few, config)


@pytest.mark.slow
def test_training_learns_people_and_leaves_frozen_blocks_alone(tmp_path):
    config = _config(encoder__damage=0.2)
    config_lib.validate(config)
    devices = parallel.create(config.parallel.mesh)
    arm = arms.create(config, lambda step: 5e-3, devices.collectives)
    assert arm.features == {"vector": "vector", "label": "identity"} and arm.restore is None
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), None)
    state, losses = devices.create_state(arm.init), []
    first = jax.device_get(state.params)
    batch = encoder_steps.batch()
    for _ in range(40):
        state, sums = step(state, devices.shard_batch(batch))
        losses.append(float(sums["loss"][0] / sums["loss"][1]))
        assert set(arm.shown) <= set(sums)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    trunk, before = jax.device_get(state.params)["network"]["trunk"], first["network"]["trunk"]
    for name in trunk:
        stays = name in ("conv1", "depthwise1", "pointwise1")
        assert np.allclose(trunk[name]["kernel"], before[name]["kernel"], atol=1e-4) == stays, name

    config.eval.max_images = 0
    metrics, picture = encoding.create(_source(13, 32), config)(state.ema)
    assert {"rank1", "tar", "rank1 clean", "tar noise 50"} <= set(metrics) and 0 <= metrics["rank1"] <= 1
    assert picture.shape == (2 * 32, 8 * 32, 3)
    write_text(tmp_path / "config.json", config_lib.to_json(config))
    saved = checkpoints.Checkpoints(tmp_path, keep=1, best_metric="rank1")
    saved.save(state, 40, metrics)
    saved.close()
    loaded = checkpoints.load_face_encoder(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, jax.device_get(state.ema)["network"])
    with pytest.raises(UserError, match="restores nothing"):
        checkpoints.load_for_inference(tmp_path)
    config.init_from = str(tmp_path)
    start = checkpoints.load_first_params(config, jax.eval_shape(arm.init).params)
    jax.tree.map(np.testing.assert_array_equal, start.params, jax.device_get(state.ema))
    with pytest.raises(UserError, match=r"another model; give both the same config\.encoder$"):
        checkpoints.load_first_params(config, {"network": {"head": {"kernel": jnp.zeros(3)}}})


def test_the_teacher_looks_once_at_clean_faces(tmp_path, monkeypatch):
    random_networks.install(monkeypatch)
    monkeypatch.setenv("FACEFLAX_CACHE", str(tmp_path))
    monkeypatch.setattr(teacher, "_BATCH_SIZE", 4)
    source = _source(3)
    described = teacher.describe(source)
    (kept,) = (tmp_path / "teacher").iterdir()
    assert [path.stat().st_mode & 0o777 for path in (kept.parent, kept)] == [0o700, 0o600]
    clean = np.stack([images.square(images.decode(example["image"]), faceres.SIZE) for example in source])
    seen = np.asarray(faceres.embed(random_networks.face_mobilenet(), clean.astype(np.float32) / 255))
    seen = seen.astype(np.float16).astype(np.float32)
    expected = _unit(seen - seen.mean(0))
    assert len(described) == 3 and described[2]["identity"] == 2
    np.testing.assert_allclose([described[i]["vector"] for i in range(3)], expected, atol=2e-2)
    monkeypatch.setattr(teacher, "_embed", lambda *arguments: pytest.fail("it looked again"))
    np.testing.assert_array_equal(teacher.describe(source).values, described.values)


def test_the_stream_gives_the_features_that_are_asked_for():
    data = _config().data
    data.update({"image_size": 16, "batch_size": 4, "flip": False})
    source = Source({**example, "vector": np.full(5, i, np.float32)} for i, example in enumerate(_source(4)))
    batches = stream.train_stream(source, data, seed=0, features={"label": "identity", "vector": "vector"})
    batch = next(batches)
    batches.close()
    assert batch["label"].dtype == np.int32 and batch["vector"].shape == (4, 5)
    np.testing.assert_array_equal(batch["label"], batch["vector"][:, 0].astype(int) % 3)
    for features, message in (({"label": "who"}, "no feature 'who'"), ({"label": "name"}, "not a class label")):
        with pytest.raises(UserError, match=message):
            stream.train_stream(source, data, seed=0, features=features)


@pytest.mark.slow
def test_class_weights_on_eight_devices_give_the_same_training(tmp_path):
    outputs = [tmp_path / f"{number}.npz" for number in (1, 8)]
    for output, mesh in zip(outputs, (("1", "1"), ("4", "2")), strict=True):
        count = int(mesh[0]) * int(mesh[1])
        command = [sys.executable, "-m", "tests.programs.encoder_steps", str(output), *mesh]
        variables = tiny.environment(
            XLA_FLAGS=f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
        )
        done = subprocess.run(command, cwd=tiny.ROOT, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with np.load(outputs[0]) as one, np.load(outputs[1]) as eight:
        assert sorted(one) == sorted(eight)
        for name in one:
            np.testing.assert_allclose(eight[name], one[name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_what_is_shipped_is_the_trained_encoder_rounded(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "FILE", tmp_path / "compact.safetensors")
    config = _config(encoder__margin=0.0)
    params = compact.init(config.encoder, jax.random.key(0))
    write_text(tmp_path / "config.json", config_lib.to_json(config))
    made = {"commit": "c0ffee", "command": "train", "versions": {}, "device": {}, "seed": 0}
    write_json(tmp_path / "manifest.json", made | {"dataset": {"name": "x", "fingerprint": "0" * 12}})
    saved = checkpoints.Checkpoints(tmp_path, keep=1, best_metric="rank1")
    saved.save({"ema": {"network": params}}, 3, {"rank1": 0.5})
    saved.close()
    with pytest.raises(UserError, match='"compact" is the name'):
        ship(tmp_path, "mine", "free")
    assert ship(tmp_path, "compact", "free") == compact.FILE
    encoder, loaded = face_encoder.load("compact")
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)
    jax.tree.map(np.testing.assert_array_equal, loaded, rounded)
    assert (encoder.size, encoder.image_size) == (16, 32)
    again = arms.create(_config(encoder__margin=0.0, encoder__start="compact"), lambda step: 0.0, lambda f: f).init()
    jax.tree.map(np.testing.assert_array_equal, again.params["network"], rounded)
    with pytest.raises(UserError, match="of another shape"):
        arms.create(_config(encoder__dimension=8, encoder__start="compact"), lambda step: 0.0, lambda f: f).init()
