"""The segmenter: what it is trained on and by, how it is measured, and how restoring uses what it finds."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax import models
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import segmentation
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.restoration import networks
from faceflax.training import arms, checkpoints, parallel, segmenter, workdir
from tests import commands, tiny, untrained

SIZE = 32
RNG = np.random.default_rng(0)


class Source(list):
    """Images in memory."""

    fingerprint = "0" * 12


FIELDS = {
    "arm": "segmenter",
    "model__name": "segmenter",
    "model__width": 8,
    "model__encoder_blocks": (),
    "model__decoder_blocks": (),
    "model__patch": 4,
    "tasks": ("facemask 1", "noise 15"),
    "eval__tasks": ("facemask 1",),
    "eval__batch_size": 8,
    "eval__best_metric": "iou",
}


def config(**fields):
    return tiny.config(**FIELDS | fields)


@pytest.fixture(scope="module")
def images():
    coarse = RNG.integers(0, 256, (8, 4, 4, 3), np.uint8)
    return np.stack([cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for image in coarse])


def test_training_finds_holes_and_leaves_bare_faces_alone(images):
    made = config()
    config_lib.validate(made)
    devices = parallel.create(made.parallel.mesh)
    arm = arms.create(made, lambda step: 5e-3, devices.collectives)
    assert arm.restore is None
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), arm.load_networks())
    state, losses = devices.create_state(arm.init), []
    batch = {"image": images, "index": np.arange(len(images), dtype=np.int32)}
    for _ in range(250):
        state, sums = step(state, devices.shard_batch(batch))
        losses.append(float(sums["loss"][0] / sums["loss"][1]))
        assert set(arm.shown) <= set(sums)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    source = Source({"image": cv2.imencode(".png", image)[1].tobytes()} for image in images)
    measured, picture = segmentation.create(source, made)(state.ema)
    assert measured["iou facemask 1"] > 0.3 > 0.15 > measured["false_positives bare"]
    assert set(measured) == {"iou", "iou facemask 1", "false_positives bare"}
    assert picture.shape == (2 * 2 * SIZE, 6 * SIZE, 3) and picture.dtype == np.uint8


def test_tasks_that_cover_nothing_are_refused():
    with pytest.raises(UserError, match="a segmenter needs occlude or facemask"):
        arms.create(config(tasks=("noise",)), lambda step: 0.0)


def test_losses_of_known_answers():
    mask = jnp.zeros((2, 8, 8, 1)).at[0, 2:6, 2:6].set(1.0)
    ones = jnp.ones_like(mask)
    assert float(segmenter.dice_loss(jnp.where(mask > 0, 50.0, -50.0), mask, ones)) < 1e-6
    wrong = float(segmenter.dice_loss(jnp.where(mask > 0, -50.0, 50.0), mask, ones))
    assert wrong == pytest.approx(1 - (1 / 65 + 1 / 65) / 2, abs=1e-6)  # 1 pixel above, 48 + 16 and 64, and 1, below


def test_edges_and_thin_things_weigh_more():
    mask = np.zeros((1, 64, 64, 1), np.float32)
    mask[0, 20:44, 20:44] = 1  # cloth
    mask[0, 30, 44:60] = 1  # a strap
    weight = np.asarray(segmenter.edge_weight(jnp.asarray(mask)))[0, ..., 0]
    square = cv2.boxFilter(mask[0, ..., 0], -1, (5, 5), borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(weight[4:-4, 4:-4], (1 + 5 * np.abs(square - mask[0, ..., 0]))[4:-4, 4:-4], atol=1e-5)
    assert weight[32, 32] == weight[5, 5] == 1.0 and weight[30, 52] > 4.9


def test_pixels_are_counted_over_all_images():
    logits = -jnp.ones((3, 4, 4, 1)).at[0, :2].set(-1.0).at[1, 0, 0].set(-1.0).at[2].set(-1.0)
    mask = jnp.zeros((3, 4, 4, 1)).at[0, 1:3].set(1.0)
    weight = jnp.array([1.0, 1.0, 0.0])
    covered = segmentation.score(logits, mask, weight, Task("facemask", 1.0))
    assert tuple(map(float, covered["iou"])) == tuple(map(float, covered["iou facemask 1"])) == (4.0, 13.0)
    bare = segmentation.score(logits, 0 * mask, weight, None)
    assert tuple(map(float, bare["false_positives bare"])) == (9.0, 32.0)
    assert tuple(map(float, bare["iou"])) == (0.0, 9.0)


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_what_is_found_is_grown_a_little(size):
    """A segmenter that takes bright pixels for a cover, at the images' size and at half of it."""
    devices = parallel.create({"data": -1, "fsdp": 1})
    bright = lambda params, image: image[..., :1] - 0.5  # noqa: E731
    find = networks.create_finder(bright, {}, SIZE, devices, batch_size=2)
    image = np.zeros((1, size, size, 3), np.float32)
    image[:, size // 4 : size // 2, size // 4 : size // 2] = 1.0
    found = find(image)
    assert found.shape == (1, size, size) and found.dtype == bool
    grown = cv2.dilate(image[0, ..., 0], np.ones((2 * size // SIZE - 1 + 2, 2 * size // SIZE - 1 + 2))) > 0
    assert (found[0] & (image[0, ..., 0] > 0)).sum() == (image[0, ..., 0] > 0).sum()
    assert found.sum() > (image[0, ..., 0] > 0).sum()
    assert (found[0] & ~cv2.dilate(grown.astype(np.uint8), np.ones((3, 3))).astype(bool)).sum() == 0


@pytest.fixture(scope="module")
def restorer(tmp_path_factory):
    """A workdir whose network returns its input, with holes filled smoothly."""
    return untrained.make_workdir(tmp_path_factory.mktemp("cnn"), SIZE)


def zeros(model):
    """Parameters of the model's shapes."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), SIZE))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def make_segmenter(folder, bias):
    """A workdir whose network finds covers everywhere (`bias` > 0) or nowhere."""
    made = config()
    params = zeros(models.create_segmenter(made.model))
    params["head"]["bias"] += bias
    return untrained.save(folder, made, params)


restore = functools.partial(commands.run, "restore")


@pytest.mark.parametrize("bias", [-1.0, 1.0])
def test_the_command_restores_what_is_found_and_nothing_else(tmp_path, capsys, restorer, bias):
    pixels = RNG.integers(0, 256, (50, 40, 3), np.uint8)
    write(tmp_path / "a.png", Photograph(pixels, None))
    found = make_segmenter(tmp_path / "segmenter", bias)
    arguments = ("--aligned", "--out", tmp_path / "out", "--model", restorer, "--mask", "auto", "--segmenter", found)
    assert restore(tmp_path / "a.png", *arguments) == 0
    result = read(tmp_path / "out" / "a.png").pixels
    assert (result != pixels).mean() > 0.9 if bias > 0 else (result == pixels).all()
    said = capsys.readouterr().out
    assert ("found nothing before the face in 1 image, " in said) == (bias < 0)
    assert said.endswith(f"restored 1 of 1 image into {tmp_path / 'out'}\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"--mask": "auto"}, "--mask auto and --segmenter WORKDIR belong together"),
        ({"--segmenter": "runs"}, "--mask auto and --segmenter WORKDIR belong together"),
        ({"--mask": "auto", "--segmenter": "CNN"}, "holds no segmenter"),
        ({"--model": "SEGMENTER"}, "holds a segmenter, which restores nothing"),
        ({"--fidelity": "0.5"}, "is no such GAN; leave it out"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, capsys, restorer, options, sentence):
    write(tmp_path / "a.png", Photograph(np.zeros((8, 8, 3), np.uint8), None))
    if "SEGMENTER" in options.values():
        make_segmenter(tmp_path / "segmenter", 0.0)
    names = {"CNN": str(restorer), "SEGMENTER": str(tmp_path / "segmenter")}
    options = {"--model": str(restorer), "--out": str(tmp_path / "out")} | options
    given = [names.get(word, word) for pair in options.items() for word in pair]
    assert restore(tmp_path / "a.png", "--aligned", *given) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


@pytest.fixture(scope="module")
def gan(tmp_path_factory, restorer):
    """A workdir of a "GAN" that was trained from `restorer`."""
    return untrained.make_gan(tmp_path_factory.mktemp("gan"), restorer)


def test_fidelity_runs_from_the_gan_to_its_cnn(gan, restorer):
    ends = {0.0: checkpoints.load_for_inference(gan).params, 1.0: checkpoints.load_for_inference(restorer).params}
    for fidelity, expected in ends.items():
        jax.tree.map(np.testing.assert_array_equal, networks.load_restorer(gan, fidelity).params, expected)
    middle = networks.load_restorer(gan, 0.5).params
    between = lambda a, b, c: np.testing.assert_allclose(b, (a + c) / 2, atol=1e-7)  # noqa: E731
    jax.tree.map(between, ends[0.0], middle, ends[1.0])


def test_fidelity_reaches_the_pixels(tmp_path, gan):
    pixels = RNG.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    write(tmp_path / "a.png", Photograph(pixels, None))
    change = {}
    for fidelity in ("0", "1"):
        out = tmp_path / fidelity
        assert restore(tmp_path / "a.png", "--aligned", "--out", out, "--model", gan, "--fidelity", fidelity) == 0
        change[fidelity] = np.abs(read(out / "a.png").pixels.astype(int) - pixels).mean()
    assert change["1"] == 0 < change["0"]  # the CNN was never trained: it returns its input


def test_fidelity_that_cannot_be_is_one_sentence(tmp_path, gan, restorer):
    with pytest.raises(UserError, match="it must be between 0 and 1"):
        networks.load_restorer(gan, 1.5)
    made, params = workdir.read_config(gan), checkpoints.load_for_inference(gan).params
    made.init_from = str(tmp_path / "gone")
    with pytest.raises(UserError, match="is not at .*gone; bring it back"):
        networks.load_restorer(untrained.save(tmp_path / "orphan", made, params), 0.5)
    made.init_from, made.model.width = str(restorer), 16
    wide = zeros(models.create(made.model))
    folder = untrained.save(tmp_path / "wide", made, wide)
    with pytest.raises(UserError, match="does not say"):
        networks.load_restorer(folder, 0.5)
    workdir.write_origin(folder, 1)
    with pytest.raises(UserError, match="different parameters"):
        networks.load_restorer(folder, 0.5)
    workdir.write_origin(folder, 2)
    with pytest.raises(UserError, match="no longer holds its checkpoint of step 2"):
        networks.load_restorer(folder, 0.5)
