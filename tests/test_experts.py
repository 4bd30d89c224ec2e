"""Experts: each image passes through one of them, they are put together from networks, and the router learns."""

import functools
import shutil

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.pretrain import experts as recipes
from configs.pretrain import tiny_experts as tiny_recipes
from experiments.ship import ship
from experiments.ship_gan import ship as ship_gan
from faceflax import config as config_lib
from faceflax import models
from faceflax.errors import UserError
from faceflax.files import write_text
from faceflax.models import experts, shipped, weights
from faceflax.restoration import networks
from faceflax.training import checkpoints, trained, workdir
from tests import untrained

SIDE = 32
NAMES = ("blind", "noise", "occlude, facemask")


def _model(names=NAMES):
    config = config_lib.default().model
    config.width, config.encoder_blocks, config.decoder_blocks, config.middle_blocks = 8, (1, 1, 1), (1, 1, 1), 1
    config.experts = names
    return models.create(config)


def _init(model, seed):
    return jax.jit(model.init, static_argnums=1)(jax.random.key(seed), SIDE)


def _noisy(params, seed):
    """Parameters that are all far from those a network starts with."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        tree, [leaf + 0.03 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    )


def _plain(count):
    """A network without experts, and parameters that differ in the finest scales alone."""
    model = _model(())
    first = _noisy(_init(model, 0), 1)
    own = {name for name in first if name.startswith(experts.OWN)}
    assert "middle_0" not in own and {"stem", "encoder0_0", "decoder1_0", "down0", "head"} < own
    others = [first | {name: _noisy(first[name], seed) for name in own} for seed in range(2, count + 1)]
    return model, [jax.tree.map(np.asarray, params) for params in (first, *others)]


def test_each_image_is_restored_by_the_likeliest_expert():
    plain, parameters = _plain(3)
    model = _model()
    params = experts.assemble(parameters) | {experts.ROUTER: _noisy(_init(model, 3)[experts.ROUTER], 7)}
    images = jax.random.uniform(jax.random.key(4), (12, SIDE, SIDE, 3)) ** jnp.linspace(0.2, 5, 12)[:, None, None, None]
    mask = jnp.zeros((12, SIDE, SIDE, 1)).at[::3, 4:20, 4:20].set(1)
    logits = experts.route(params, NAMES, images, mask)
    params[experts.ROUTER]["logits"]["bias"] -= jnp.where(jnp.isfinite(logits), logits, 0.0).sum(0) / 8
    chosen = np.argmax(np.asarray(experts.route(params, NAMES, images, mask)), -1)
    assert set(chosen) == {0, 1, 2} and (chosen[::3] == 2).all() and (np.delete(chosen, np.s_[::3]) != 2).all()
    restored, apply = jax.jit(model.apply)(params, images, mask), jax.jit(plain.apply)
    for number, expert in enumerate(chosen):
        one = slice(number, number + 1)
        alone = apply(parameters[expert], images[one], mask[one])[0]
        np.testing.assert_allclose(restored[number], alone, rtol=1e-4, atol=1e-4)
        other = apply(parameters[(expert + 1) % 3], images[one], mask[one])[0]
        assert np.abs(restored[number] - other).max() > 0.01


def test_what_a_hole_shows_changes_no_expert():
    model = _model()
    params = _noisy(_init(model, 0), 3)
    images = jax.random.uniform(jax.random.key(1), (4, SIDE, SIDE, 3))
    mask = jnp.zeros((4, SIDE, SIDE, 1)).at[:, 8:20, 4:30].set(1)
    black, white = (experts.route(params, NAMES, jnp.where(mask > 0, shown, images), mask) for shown in (0.0, 1.0))
    np.testing.assert_array_equal(black, white)
    assert (np.argmax(black, -1) == 2).all()
    assert (np.argmax(experts.route(params, NAMES, images, 0 * mask), -1) != 2).all()


def test_the_spectrum_is_that_of_numpys_fourier_transform():
    images = np.random.default_rng(0).random((2, 128, 128, 3), np.float32) - 0.5
    window = np.hanning(130)[1:-1]
    planes = cv2.transform(images.reshape(-1, 128, 3), experts._LUMA_CHROMA.T).reshape(images.shape)
    power = np.abs(np.fft.fft2(planes * window[:, None, None] * window[:, None], axes=(1, 2))) ** 2 / 128**2
    levels = np.fft.fftshift(np.log(power + 1e-6), axes=2)[:, :64]
    expected = levels.reshape(2, 32, 2, 64, 2, 3).mean((2, 4))
    np.testing.assert_allclose(experts.log_spectrum(images), expected, atol=1e-4)
    # A wave of a quarter of a cycle a pixel is at the same place whatever the size.
    for size in (64, 96, 256):
        wave = np.cos(np.pi / 2 * np.arange(size, dtype=np.float32))
        found = experts.log_spectrum(np.broadcast_to(wave[:, None, None], (1, size, size, 3)))[0, :, 32, 0]
        assert abs(int(np.argmax(found)) - 16) <= 1


def test_networks_are_held_as_they_came_and_what_they_share_once():
    _, parameters = _plain(2)
    joined = experts.assemble(parameters)
    for number, params in enumerate(parameters):
        jax.tree.map(np.testing.assert_array_equal, experts.select(joined, number), params)
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert size(joined) < 1.7 * size(parameters[0])
    jax.tree.map(
        np.testing.assert_array_equal, experts.select(experts.spread(parameters[0], 4), 3), dict(parameters[0])
    )
    other = parameters[1] | {"middle_0": _noisy(parameters[1]["middle_0"], 9)}
    with pytest.raises(UserError, match="expert 1 differs from the first in what all experts share"):
        experts.assemble([parameters[0], other])
    wider = parameters[1] | {"head": {"kernel": np.zeros((3, 3, 8, 13)), "bias": np.zeros(13)}}
    with pytest.raises(UserError, match="expert 1 is of another architecture"):
        experts.assemble([parameters[0], wider])


@pytest.fixture
def workdirs(tmp_path, monkeypatch):
    """A shipped network with experts, and the workdir of a GAN that was trained from its first."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    folder = untrained.make_workdir(tmp_path / "plain", SIDE)
    config, params, _ = checkpoints.load_for_inference(folder)
    config.arm, config.model.experts = "experts", NAMES
    router = jax.jit(lambda: models.create(config.model).init(jax.random.key(2), SIDE))()[experts.ROUTER]
    joined = experts.spread(params, 3) | {experts.ROUTER: router}
    joined = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), joined)
    untrained.save(tmp_path / "experts", config, joined)
    manifest = workdir.read_manifest(tmp_path / "experts")
    made = {"command": "train", "versions": {}, "device": {}, "seed": 0, "dataset": {"name": "x", "fingerprint": "0"}}
    for name in ("experts", "plain"):
        workdir.write_json(tmp_path / name / "manifest.json", manifest | made)
    ship(tmp_path / "experts", "cnn", "")
    config.arm, config.model.experts, config.init_from = "gan", (), "cnn"
    untrained.save(tmp_path / "gan", config, jax.tree.map(lambda leaf: leaf + 0.01, params))
    workdir.write_origin(tmp_path / "gan", 1)
    workdir.write_json(tmp_path / "gan" / "manifest.json", manifest | made)
    return tmp_path


def test_a_network_without_experts_starts_from_the_first(workdirs):
    config, params, _ = trained.load_plain("cnn")
    assert not config.model.experts
    jax.tree.map(np.testing.assert_array_equal, params, experts.select(shipped.read("cnn")[1], 0))
    abstract = jax.eval_shape(lambda: models.create(config.model).init(jax.random.key(0), SIDE))
    gan = workdir.read_config(workdirs / "gan")
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load_first_params(gan, abstract).params, params)
    ship(workdirs / "gan", "gan", "", fidelity=0.5)
    half = jax.tree.map(lambda leaf: leaf + 0.005, params)
    found, between, manifest = shipped.read("gan")
    assert found.model.experts == NAMES and manifest["kind"] == "gan"
    for number in range(3):
        close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3)  # noqa: E731
        jax.tree.map(close, experts.select(between, number), half)
    ship(workdirs / "experts", "cnn", "", eight_bits=True)
    ship(workdirs / "gan", "gan", "")
    assert not shipped.read("gan")[0].model.experts
    assert shipped.manifest("gan")["before"][-1]["tasks"] == ["mixed"]


def test_experts_that_were_trained_as_gans_make_a_gan_of_the_cnn(workdirs):
    for number in (1, 2):
        plain = trained.load_plain(f"cnn:{NAMES[number]}")
        plain.config.arm, plain.config.init_from = "gan", f"cnn:{NAMES[number]}"
        own = {name: part for name, part in plain.params.items() if name.startswith(experts.OWN)}
        untrained.save(workdirs / str(number), plain.config, plain.params | jax.tree.map(lambda leaf: leaf + 0.04, own))
        workdir.write_origin(workdirs / str(number), 1)
        shutil.copy(workdirs / "gan" / "manifest.json", workdirs / str(number))
        write_text(workdirs / str(number) / "metrics.jsonl", "")
    config, cnn, known = shipped.read("cnn")

    def check(changed):
        found, gan, manifest = shipped.read("gan")
        assert found.model == config.model and found.arm == manifest["kind"] == "gan"
        moved = cnn | {experts.EXPERTS: jax.tree.map(lambda leaf: leaf + 0.04, cnn[experts.EXPERTS])}
        for number in range(3):
            expected = experts.select(moved if number in changed else cnn, number)
            close = functools.partial(np.testing.assert_allclose, atol=5e-3)  # eight bits
            jax.tree.map(close, experts.select(gan, number), expected)
        assert [run["expert"] for run in manifest["experts"]] == [NAMES[number] for number in changed]
        assert manifest["before"][-1]["step"] == known["step"] == manifest["origin"]

    ship_gan([str(workdirs / "1")])
    check([1])
    ship_gan([str(workdirs / "2"), f"gan:{NAMES[1]}"])
    check([2, 1])
    whole, alone = (networks.load_restorer("gan", fidelity).params for fidelity in (1.0, 0.0))
    jax.tree.map(np.testing.assert_array_equal, (whole, alone), (cnn, shipped.read("gan")[1]))
    one = workdirs / "1"
    jax.tree.map(np.testing.assert_array_equal, networks.load_restorer(one, 1.0).params, experts.select(cnn, 1))
    ship_gan([f"{one}@0.25"])
    quarter = {n: jax.tree.map(lambda leaf: leaf[1] + 0.03, part) for n, part in cnn[experts.EXPERTS].items()}
    found = {n: jax.tree.map(lambda leaf: leaf[1], p) for n, p in shipped.read("gan")[1][experts.EXPERTS].items()}
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=5e-3), found, quarter)
    assert shipped.manifest("gan")["experts"][0]["fidelity"] == 0.25
    manifest = shipped.manifest("gan")
    assert manifest["commit"] == "c0ffee" and manifest["seed"] == manifest["experts"][0]["seed"] == 0
    with pytest.raises(UserError, match="holds one expert of a GAN; ship it with experiments.ship_gan"):
        ship(one, "gan", "")
    for named, message in (
        ([f"{one}@2"], "after the @ goes a fidelity from 0"),
        ([f"{one}@half"], "after the @ goes a fidelity from 0"),
        ([str(one), f"gan:{NAMES[1]}"], "two of --experts are for the same damage"),
        ([f"gan:{NAMES[0]}"], f'the gan that ships has no expert "{NAMES[0]}" that was trained as a GAN'),
        ([str(workdirs / "gan")], "holds no GAN that was trained from an expert of the shipped cnn"),
    ):
        with pytest.raises(UserError, match=message):
            ship_gan(named)
    params = shipped.read("cnn")[1]
    params[experts.SHARED] = jax.tree.map(lambda leaf: leaf + 0.1, params[experts.SHARED])
    weights.write(shipped.path("cnn"), params, shipped.manifest("cnn"))
    with pytest.raises(UserError, match="belongs to a cnn of other coarse scales"):
        ship_gan([f"gan:{NAMES[1]}"])
    with pytest.raises(UserError, match="differs from the first in what all experts share"):
        ship_gan([str(one)])


def test_fidelity_leads_from_a_gan_to_each_expert(workdirs):
    images = jax.random.uniform(jax.random.key(0), (2, SIDE, SIDE, 3))
    mask = jnp.zeros((2, SIDE, SIDE, 1))

    def restored(found):
        return jax.jit(models.create(found.config.model).apply)(found.params, images, mask)

    gan, cnn = trained.load_restorer(workdirs / "gan"), trained.load_restorer("cnn")
    jax.tree.map(np.testing.assert_array_equal, networks.load_restorer(workdirs / "gan", 0.0).params, gan.params)
    nearly = restored(networks.load_restorer(workdirs / "gan", 1e-6))
    np.testing.assert_allclose(nearly, restored(gan), atol=1e-4)
    np.testing.assert_allclose(restored(networks.load_restorer(workdirs / "gan", 1.0)), restored(cnn), atol=1e-6)
    assert np.abs(restored(gan) - restored(cnn)).max() > 0.01


def test_what_came_before_experts_is_told_once(workdirs):
    config = workdir.read_config(workdirs / "experts")
    config.experts.start = (str(workdirs / "plain"), str(workdirs / "plain"), str(workdirs / "plain"))
    workdir.write_text(workdirs / "experts" / "config.json", config_lib.to_json(config))
    ship(workdirs / "experts", "again", "")
    assert [(run["kind"], run["step"]) for run in shipped.manifest("again")["before"]] == [("cnn", 1)]
    assert shipped.manifest("again")["kind"] == "experts"


def test_a_history_goes_through_the_model_that_a_training_started_from(workdirs):
    config = workdir.read_config(workdirs / "plain")
    config.init_from = f"cnn:{NAMES[1]}"
    untrained.save(workdirs / "next", config, trained.load_plain(config.init_from).params)
    workdir.write_origin(workdirs / "next", 1, trained.shipped_starts(config))
    shutil.copy(workdirs / "plain" / "manifest.json", workdirs / "next")
    ship(workdirs / "next", "next", "")
    assert [(run["kind"], run["step"]) for run in shipped.manifest("next")["before"]] == [("experts", 1)]
    manifest = workdir.read_manifest(workdirs / "experts")
    workdir.write_json(workdirs / "experts" / "manifest.json", manifest | {"commit": "beef"})
    ship(workdirs / "experts", "cnn", "")  # of as many steps, but another
    with pytest.raises(UserError, match='"cnn" does not come from that which .*next was trained from'):
        ship(workdirs / "next", "next", "")


def test_the_router_may_be_held_finer_than_the_experts(workdirs):
    sizes, routers = {}, {}
    for fine in (False, True):
        path = ship(workdirs / "experts", "cnn", "", eight_bits=True, fine_router=fine)
        sizes[fine], routers[fine] = path.stat().st_size, shipped.read("cnn")[1][experts.ROUTER]["hidden"]["kernel"]
    exact = checkpoints.load_for_inference(workdirs / "experts").params[experts.ROUTER]["hidden"]["kernel"]
    errors = {fine: np.abs(router - exact).max() for fine, router in routers.items()}
    assert sizes[True] > sizes[False] and errors[True] < errors[False] / 5


def test_recipes_of_experts_name_what_ships():
    for recipe, name in ((recipes, "cnn"), (tiny_recipes, "tiny")):
        model = shipped.read(name)[0].model
        joined = recipe.get_config()
        assert joined.model.experts == tuple(model.experts) and models.blurs(joined.model) == models.blurs(model)
        assert joined.model.fill == model.fill and joined.init_from == name
        kinds = list(recipe.KINDS)
        one = recipe.get_config(kinds[1])
        assert one.init_from == f"{name}:{model.experts[1]}" and one.optim.modules == experts.OWN
        start = recipe.get_config(f"join,{kinds[1]}").experts.start
        assert start[:2] == (f"{name}:{model.experts[0]}", f"runs/pretrain/expert_{kinds[1]}")
        for wrong in ("fog", "join,fog", f"{kinds[0]},{kinds[1]}"):
            with pytest.raises(UserError, match="write one of .*, or join and those that were trained"):
                recipe.get_config(wrong)
