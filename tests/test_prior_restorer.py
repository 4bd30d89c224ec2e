"""The restorer with the face prior inside: what steers it, what stays as published, what it is trained by."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import models
from faceflax.errors import UserError
from faceflax.models.face_prior import restorer, synthesis
from faceflax.restoration import exporting
from faceflax.training import arms, checkpoints, optimizer, parallel
from tests import random_networks, tiny

SIZE = 64
FIELDS = {
    "model__name": "face_prior",
    "model__width": 8,
    "data__image_size": SIZE,
    "data__batch_size": 2,
    "tasks": ("noise 50", "occlude 25"),
}
synthesise = jax.jit(synthesis.synthesise, static_argnums=2)


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        random_networks.install(patch)
        yield models.create(tiny.config(**FIELDS).model)


@pytest.fixture(scope="module")
def params(model):
    return jax.jit(model.init, static_argnums=1)(jax.random.key(0), SIZE)


@pytest.fixture(scope="module")
def restore(model):
    return jax.jit(model.restore_with_styles)


@pytest.fixture(scope="module")
def steered(params):
    """The same parameters with random ones where a new network has zeros: everything has a say."""
    keys = iter(jax.random.split(jax.random.key(7), 99))
    steering = jax.tree.map(lambda leaf: leaf + 0.02 * jax.random.normal(next(keys), leaf.shape), params["steering"])
    return params | {"steering": steering}


@pytest.fixture
def batch():
    image = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    return {"image": image, "index": np.arange(2, dtype=np.int32)}


def test_an_untrained_one_makes_the_mean_face(params, restore):
    damaged = jax.random.uniform(jax.random.key(1), (2, SIZE, SIZE, 3))
    restored = restore(params, damaged, jnp.zeros((2, SIZE, SIZE, 1)))
    prior = random_networks.face_prior()
    mean = synthesise(prior, prior["mean"][None], SIZE) / 2 + 0.5
    np.testing.assert_allclose(restored.images, np.repeat(mean, 2, axis=0), atol=1e-5)
    np.testing.assert_array_equal(restored.styles, np.broadcast_to(prior["mean"], (2, 23, 512)))


def test_its_face_is_made_of_the_styles_and_of_what_is_told_at_each_resolution(steered, restore):
    damaged, mask = jax.random.uniform(jax.random.key(1), (2, SIZE, SIZE, 3)), jnp.zeros((2, SIZE, SIZE, 1))
    restored = restore(steered, damaged, mask)
    by_styles = synthesise(random_networks.face_prior(), restored.styles, SIZE) / 2 + 0.5
    layers = ["spatial16", "spatial32", "spatial8"]
    assert sorted(name for name in steered["steering"] if name.startswith("spatial")) == layers
    silent = {name: jax.tree.map(jnp.zeros_like, steered["steering"][name]) for name in layers}
    without = restore(steered | {"steering": steered["steering"] | silent}, damaged, mask)
    np.testing.assert_allclose(without.images, by_styles, atol=1e-5)
    for name in layers:
        one = steered | {"steering": steered["steering"] | {name: silent[name]}}
        assert np.abs(restore(one, damaged, mask).images - restored.images).max() > 1e-3, name


def test_known_pixels_stay_and_the_hole_has_no_influence(steered, restore):
    damaged = jax.random.uniform(jax.random.key(1), (2, SIZE, SIZE, 3))
    mask = jnp.zeros((2, SIZE, SIZE, 1)).at[:, 10:40, 20:50].set(1)
    restored = restore(steered, damaged, mask).images
    known = np.broadcast_to(mask == 0, damaged.shape)
    np.testing.assert_array_equal(np.asarray(restored)[known], np.asarray(damaged)[known])
    other = restore(steered, jnp.where(mask > 0, 0.9, damaged), mask).images
    np.testing.assert_allclose(restored, other, atol=1e-5)


@pytest.fixture(scope="module")
def goes_back(steered):
    """Makes, of fields of the model: the restored faces, the gradient that steers them, and the bytes kept for it."""
    damaged, mask = jax.random.uniform(jax.random.key(1), (2, SIZE, SIZE, 3)), jnp.zeros((2, SIZE, SIZE, 1))

    def run(**fields):
        model = models.create(
            tiny.config(**FIELDS, **{f"model__{name}": value for name, value in fields.items()}).model
        )
        restore = lambda steering: model.apply(steered | {"steering": steering}, damaged, mask)  # noqa: E731
        gradient = jax.jit(jax.grad(lambda steering: jnp.mean(jnp.square(restore(steering) - 0.5))))
        kept = jax.tree.leaves(jax.eval_shape(lambda steering: jax.vjp(restore, steering)[1], steered["steering"]))
        kept_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in kept if leaf.ndim == 4)
        return jax.jit(restore)(steered["steering"]), gradient(steered["steering"]), kept_bytes

    return run


@pytest.fixture(scope="module")
def plain(goes_back):
    return goes_back()


def test_levels_computed_again_give_the_same_gradients_and_keep_less(plain, goes_back):
    images, gradient, kept = goes_back(remat=True)
    np.testing.assert_allclose(images, plain[0], atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, plain[1])
    assert kept < 0.3 * plain[2]


def test_half_precision_is_that_of_the_prior_too(plain, goes_back):
    images, gradient, kept = goes_back(dtype="bfloat16")
    assert images.dtype == jnp.float32
    assert np.abs(images - plain[0]).mean() < 0.02 * np.std(plain[0])
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    ours, theirs = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(each)]) for each in (gradient, plain[1]))
    assert np.linalg.norm(ours - theirs) < 0.2 * np.linalg.norm(theirs)
    assert kept < 0.6 * plain[2]


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_published_parameters_stay_while_they_are_frozen(frozen, batch, monkeypatch):
    random_networks.install(monkeypatch)
    arm = arms.create(tiny.config(**FIELDS, model__frozen=frozen, optim__weight_decay=0.5), lambda step: 1e-2)
    before = jax.jit(arm.init)()
    state, step = before, jax.jit(arm.step)
    for _ in range(2):
        state, sums = step(state, batch, {})
    assert np.isfinite(sums["loss"][0])
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.params, state.params)
    assert any(jax.tree.leaves(changed["steering"]))
    assert any(jax.tree.leaves(changed["prior"])) != frozen


@pytest.mark.parametrize("size", [128, *(pytest.param(size, marks=pytest.mark.slow) for size in (256, 512))])
def test_it_learns_and_restores_at(size, monkeypatch):
    random_networks.install(monkeypatch)
    one_block = {f"model__{name}_blocks": (1,) for name in ("encoder", "decoder")}
    config = tiny.config(
        **FIELDS | {"data__image_size": size, "data__batch_size": 1, "tasks": ("noise 50",)}, **one_block
    )
    arm = arms.create(config, lambda step: 1e-2)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    state, restore = jax.jit(arm.init)(), jax.jit(arm.restore)
    assert f"spatial{size // 2}" in state.params["steering"] and f"spatial{size}" not in state.params["steering"]
    seen = (np.float32(image) / 255, np.zeros((1, size, size, 1), np.float32))
    before = restore(state.params, *seen)
    state, sums = jax.jit(arm.step)(state, {"image": image, "index": np.arange(1, dtype=np.int32)}, {})
    after = restore(state.params, *seen)
    error = lambda images: np.abs(images - seen[0]).mean()  # noqa: E731
    assert after.shape == image.shape and np.isfinite(sums["grad_norm"][0])
    assert error(after) < error(before)


@pytest.mark.parametrize("name", ["cnn", "gan", "inversion"])
def test_nothing_is_kept_for_what_is_frozen(name, monkeypatch):
    random_networks.install(monkeypatch)
    arm = arms.create(tiny.config(**FIELDS, arm=name, data__flip=False, gan__scales=2), lambda step: 1e-2)
    state = jax.eval_shape(arm.init)
    sizes = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert sizes(state.opt_state) - 2 * sizes(state.params["steering"]) in range(10)


class _Recorded(dict):
    """A dictionary that remembers what was read of it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("size", [64, 128, 512, 1024])
def test_what_a_size_needs_is_what_it_reads(size):
    prior, styles = random_networks.face_prior(channels=4), jnp.zeros((1, 23, 512))
    needed = _Recorded(synthesis.needed(prior, size))
    jax.eval_shape(lambda: synthesis.synthesise(needed, styles, size))
    assert needed.read | {"mean"} == needed.keys()


def test_other_sizes_than_its_own_are_refused(model, params):
    with pytest.raises(UserError, match="of the size that it was trained at, not of 128x128 pixels"):
        jax.eval_shape(model.apply, params, jnp.zeros((1, 128, 128, 3)), jnp.zeros((1, 128, 128, 1)))
    with pytest.raises(UserError, match="multiples of 32 pixels, not 96x80"):
        model.apply(params, jnp.zeros((1, 96, 80, 3)), jnp.zeros((1, 96, 80, 1)))
    with pytest.raises(UserError, match="makes faces of 64, 128, 256, 512, 1024 pixels, not 96"):
        model.init(jax.random.key(0), 96)


@pytest.mark.slow
@pytest.mark.parametrize("kind", exporting.FORMATS)
def test_it_can_be_exported(model, steered, tmp_path, kind):
    function = lambda image, mask: model.apply(steered, image, mask)  # noqa: E731
    description = {"size": SIZE, "model": "test", "manifest": {}}
    found = exporting.export(function, SIZE, description, kind, tmp_path / f"model.{kind}")
    assert found < exporting.TOLERANCE


def test_any_number_of_faces_fits_one_program(model, params):
    (count,) = jax.export.symbolic_shape("b")
    shapes = [jax.ShapeDtypeStruct((count, SIZE, SIZE, channels), jnp.float32) for channels in (3, 1)]
    made = jax.eval_shape(model.apply, params, *shapes)
    assert made.shape == shapes[0].shape


def test_it_starts_from_what_was_trained_at_its_size(params):
    config, start = tiny.config(**FIELDS, init_from="there"), tiny.config(**FIELDS | {"data__image_size": 128})
    other = params | {"steering": {**params["steering"], "spatial64": params["steering"]["spatial32"]}}
    with pytest.raises(UserError, match="there was trained at 128 pixels.*set config.data.image_size to it, not to 64"):
        checkpoints.check_fits(config, params, start, other)


def test_a_checkpoint_holds_all_of_it(tmp_path, params, steered):
    arm = optimizer.create(tiny.config(**FIELDS).optim, lambda step: 1e-3, (restorer.PRIOR,))
    state = optimizer.first_state(steered, arm)
    manager = checkpoints.Checkpoints(tmp_path, keep=1, best_metric="psnr")
    manager.save(state, 1, None)
    manager.wait()
    devices = parallel.one_device()
    restored = manager.restore(devices.abstract_state(lambda: optimizer.first_state(params, arm)), 1)
    manager.close()
    jax.tree.map(np.testing.assert_array_equal, restored, state)
