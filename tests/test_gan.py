"""The adversarial arm: its losses, its discriminator, what that sees, and the step that trains both networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax import degradations, metrics, models, objectives
from faceflax.errors import UserError
from faceflax.models import discriminator as discriminators
from faceflax.models import spectral
from faceflax.models.discriminator import Logits
from faceflax.training import arms, checkpoints, diffaugment, gan, monitors, parallel
from faceflax.training.state import Collectives
from tests import tiny

NUM_STEPS = 30
GENTLE = {
    "gan__augment": (),
    "gan__weight": 0.2,
    "gan__start": 2,
    "gan__r1": 0.1,
    "gan__penalty_every": 3,
    "gan__lr_ratio": 2.0,
    "optim__ema_decay": 0.6,
    "tasks": ("sr 16",),
}
FIELDS = {"arm": "gan", "gan__width": 8, "gan__scales": 2, "eval__best_metric": "step"}


def _uniform(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), shape)


@pytest.fixture(scope="module")
def batch():
    return {
        "image": np.asarray(_uniform(0, 4, 32, 32, 3) * 255).astype(np.uint8),
        "index": np.arange(4, dtype=np.int32),
    }


def _arm(**fields):
    return arms.create(tiny.config(**FIELDS | fields), lambda step: 1e-3)


def test_spectral_normalisation_makes_the_largest_singular_value_the_gain():
    params = {"conv": {"kernel": _uniform(0, 3, 3, 4, 6) - 0.4, "bias": jnp.ones(6)}, "dense": _uniform(1, 5, 7)}
    vectors = spectral.create_vectors(params)
    normalize = jax.jit(lambda vectors: spectral.normalize(params, vectors, 2.0))
    for _ in range(60):
        normalized, vectors = normalize(vectors)
    for kernel in (normalized["conv"]["kernel"], normalized["dense"]):
        largest = np.linalg.svd(np.asarray(kernel).reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        np.testing.assert_allclose(largest, 2.0, rtol=1e-4)
    np.testing.assert_array_equal(normalized["conv"]["bias"], 1.0)


def test_the_gradient_goes_through_the_singular_value():
    params = {"kernel": _uniform(0, 4, 3)}
    vectors = spectral.create_vectors(params)
    follow = jax.jit(lambda vectors: spectral.normalize(params, vectors)[1])
    for _ in range(60):
        vectors = follow(vectors)
    total = lambda p: jnp.sum(jnp.sin(3 * spectral.normalize(p, vectors)[0]["kernel"]))  # noqa: E731
    gradient, direction = jax.grad(total)(params)["kernel"], _uniform(2, 4, 3)
    shifted = [float(total({"kernel": params["kernel"] + sign * 1e-2 * direction})) for sign in (1, -1)]
    np.testing.assert_allclose(jnp.sum(gradient * direction), (shifted[0] - shifted[1]) / 2e-2, rtol=2e-2, atol=1e-3)
    # The normalised kernel does not change with the kernel's scale, so neither does anything made of it.
    np.testing.assert_allclose(jnp.sum(gradient * params["kernel"]), 0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hinge", lambda r, f: (np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(), -f.mean())),
        (
            "non_saturating",  # -log of the probability given to the right answer
            lambda r, f: (-np.log(_sigmoid(r)).mean() - np.log(1 - _sigmoid(f)).mean(), -np.log(_sigmoid(f)).mean()),
        ),
        ("relativistic", lambda r, f: (-np.log(_sigmoid(r - f)).mean(), -np.log(_sigmoid(f - r)).mean())),
    ],
)
def test_adversarial_losses(name, expected):
    real, fake = (
        Logits(*(4 * _uniform(seed + i, *shape) - 2 for i, shape in enumerate([(5,), (5, 3, 3, 1)]))) for seed in (0, 2)
    )
    parts = [expected(np.asarray(r, np.float64), np.asarray(f, np.float64)) for r, f in zip(real, fake, strict=True)]
    loss = objectives.adversarial_loss(name)
    np.testing.assert_allclose(loss.discriminator(real, fake), np.mean([part[0] for part in parts]), rtol=1e-5)
    np.testing.assert_allclose(loss.generator(real, fake), np.mean([part[1] for part in parts]), rtol=1e-5)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_discriminator_judges_images_and_pixels():
    discriminator, variables, apply = _discriminator()
    images, degraded, mask = _uniform(1, 3, 32, 32, 3), _uniform(2, 3, 32, 32, 3), jnp.zeros((3, 32, 32, 1))
    probability = jax.jit(functools.partial(discriminators.discriminate, discriminator))(
        variables, images, degraded, mask
    )
    assert probability.shape == (3,)
    assert (probability > 0).all() and (probability < 1).all() and np.std(probability) > 0
    logits = apply(variables, images, degraded, mask)
    assert logits.pixel.shape == (3, 32, 32, 1)
    other = apply(variables, images, 1 - degraded, mask)
    assert not np.allclose(logits.image, other.image)  # it sees what the image was restored from
    _, variables, apply = _discriminator(gan__conditional=False)
    logits, other = (apply(variables, images, condition, mask) for condition in (degraded, 1 - degraded))
    np.testing.assert_array_equal(logits.image, other.image)


def _discriminator(size=32, **fields):
    """A discriminator, its variables, and how it judges images of them, compiled."""
    discriminator = discriminators.create(tiny.config(**FIELDS | fields).gan)
    variables = jax.jit(lambda: discriminator.init(jax.random.key(0), size))()
    return (
        discriminator,
        variables,
        jax.jit(lambda v, *view: discriminator.apply(discriminator.normalize(*v)[0], *view)),
    )


def test_both_gradients_of_the_step_are_those_of_two_separate_objectives(batch):
    fields = {"gan__weight": 0.3, "tasks": ("noise 50",), "gan__augment": ("translation",), "gan__scales": 1}
    fields |= {"gan__r1": 0.5, "gan__r2": 0.8, "gan__penalty_every": 3, "model__width": 4, "gan__width": 4}
    config = tiny.config(**FIELDS | fields)
    state = jax.jit(_arm(**fields).init)()
    model, discriminator = models.create(config.model), discriminators.create(config.gan)
    loss = objectives.adversarial_loss("hinge")
    pairs, keys = _degraded(config, batch), jax.random.split(jax.random.key(7))
    compute = gan.Gradients(config, model, discriminator, loss, Collectives())
    at_step = jax.jit(lambda step: compute(state.replace(step=step), pairs, keys[0], {}))
    due, other = at_step(3), at_step(4)

    def view(images):
        return diffaugment.augment(keys[0], pairs.index, images, pairs.degraded, pairs.mask, ("translation",))

    def judge(params, restored):
        normalized, _ = discriminator.normalize(params, state.extras.vectors)
        return [discriminator.apply(normalized, *view(images)) for images in (pairs.clean, restored)]

    def generator_objective(params):
        restored = model.apply(params, pairs.degraded, pairs.mask)
        reconstruction, _ = objectives.reconstruction_loss(restored, pairs.clean, config.loss)
        return reconstruction + 0.3 * loss.generator(*judge(state.extras.params, restored))

    def discriminator_objective(params):
        return loss.discriminator(*judge(params, model.apply(state.params, pairs.degraded, pairs.mask)))

    def penalty(params):
        normalized, _ = discriminator.normalize(params, state.extras.vectors)

        def logit(*pictures):
            logits = discriminator.apply(normalized, *(picture[None] for picture in pictures))
            return logits.image[0] + logits.pixel.mean()

        restored = model.apply(state.params, pairs.degraded, pairs.mask)
        slopes = [jax.vmap(jax.grad(logit))(*view(images)) for images in (pairs.clean, restored)]
        r1, r2 = (jnp.square(slope).sum((1, 2, 3)).mean() for slope in slopes)
        return 0.5 / 2 * r1 + 0.8 / 2 * r2

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)  # noqa: E731
    objective, generator = jax.jit(jax.value_and_grad(generator_objective))(state.params)
    plain, extra = jax.jit(lambda p: (jax.grad(discriminator_objective)(p), jax.grad(penalty)(p)))(state.extras.params)
    jax.tree.map(close, other[0], {"generator": generator, "discriminator": plain})
    # Computed in every third step, it counts for the two in which it is left out.
    with_penalty = jax.tree.map(lambda gradient, more: gradient + 3 * more, plain, extra)
    jax.tree.map(close, due[0], {"generator": generator, "discriminator": with_penalty})
    close(due[1]["loss"][0] / due[1]["loss"][1], objective)


def _degraded(config, batch):
    clean = jnp.asarray(batch["image"], jnp.float32) / 255
    groups = degradations.parse(config.tasks)
    return gan.Batch(clean, *degradations.degrade(jax.random.key(3), clean, batch["index"], groups), batch["index"])


def test_an_adaptive_weight_makes_both_losses_pull_equally(batch):
    config = tiny.config(**FIELDS).gan
    config.adaptive, config.weight = True, 0.5
    by_target, by_opponent = _uniform(0, 2, 4, 4, 3), 1e-3 * _uniform(1, 2, 4, 4, 3)
    weight = gan._adversarial_weight(config, jnp.int32(0), by_target, by_opponent)
    np.testing.assert_allclose(jnp.linalg.norm(weight * by_opponent), 0.5 * jnp.linalg.norm(by_target), rtol=1e-2)
    config.start = 3
    weights = [float(gan._adversarial_weight(config, jnp.int32(step), by_target, by_opponent)) for step in (0, 2, 3)]
    assert weights[:2] == [0.0, 0.0] and weights[2] > 0


def test_the_penalty_is_the_squared_gradient_of_the_logits():
    discriminator, variables, apply = _discriminator(8, gan__scales=1, gan__width=2)
    image, degraded, mask = _uniform(1, 1, 8, 8, 3), _uniform(2, 1, 8, 8, 3), jnp.zeros((1, 8, 8, 1))

    def logit(image):
        logits = apply(variables, image, degraded, mask)
        return float(logits.image.sum() + logits.pixel.mean())

    steps = 1e-2 * jnp.eye(image.size).reshape(-1, *image.shape)
    slopes = [(logit(image + step) - logit(image - step)) / 2e-2 for step in steps]
    normalized, _ = discriminator.normalize(*variables)
    penalty = gan._squared_gradient(discriminator, normalized, (image, degraded, mask))
    np.testing.assert_allclose(penalty, np.square(slopes).sum(), rtol=0.05)


def test_the_penalty_is_computed_in_float32_whatever_the_dtype():
    half, variables, _ = _discriminator(8, gan__scales=1, gan__width=2, gan__dtype="bfloat16")
    whole, _, _ = _discriminator(8, gan__scales=1, gan__width=2)
    view = _uniform(1, 1, 8, 8, 3), _uniform(2, 1, 8, 8, 3), jnp.zeros((1, 8, 8, 1))
    normalized, _ = half.normalize(*variables)
    logits = [discriminator.apply(normalized, *view).image for discriminator in (half, whole)]
    assert not np.allclose(*logits, rtol=1e-4)
    penalties = [gan._squared_gradient(discriminator, normalized, view) for discriminator in (half, whole)]
    np.testing.assert_allclose(*penalties, rtol=1e-5)


def _shares(restored, clean, mask):
    return {name: float(top / bottom) for name, (top, bottom) in monitors.collapse(restored, clean, mask).items()}


def test_monitors_tell_blurred_noisy_and_equal_faces():
    clean, whole = _uniform(0, 8, 32, 32, 3), jnp.zeros((8, 32, 32, 1))
    blurred = jnp.broadcast_to(clean.mean((1, 2), keepdims=True), clean.shape)
    assert _shares(blurred, clean, whole)["sharpness"] < 0.01
    assert _shares(clean + _uniform(1, 8, 32, 32, 3), clean, whole)["sharpness"] > 1.2
    one_face = jnp.broadcast_to(clean[:1], clean.shape)
    assert _shares(one_face, clean, whole)["diversity"] < 0.01
    np.testing.assert_allclose(list(_shares(clean, clean, whole).values()), 1.0)
    hole = whole.at[:, 8:24, 8:24].set(1.0)
    filled_alike = jnp.where(hole > 0, one_face, clean)  # the known pixels still differ
    assert _shares(filled_alike, clean, hole)["diversity"] < 0.01
    logits = Logits(jnp.array([1.0, -1.0, 2.0, 3.0]), jnp.zeros((4, 1, 1, 1)))
    seen = monitors.balance(logits, Logits(-logits.image, logits.pixel))
    np.testing.assert_allclose([seen["accuracy_real"], seen["accuracy_fake"], seen["logit_real"]], [0.75, 0.75, 1.25])


def test_the_course_of_a_training_is_its_start_its_quarters_and_its_end():
    line = lambda step: {"step": step, "train/loss": 1.0} | {f"train/{name}": step / 8 for name in monitors.NAMES}  # noqa: E731
    found = monitors.course([line(step) for step in (1, 2, 3, 4, 5, 6, 8, 9)], 8)
    assert [row["step"] for row in found] == [1, 2, 4, 6, 8]  # what came after the checkpoint is not of it
    assert found[1] == {"step": 2} | dict.fromkeys(monitors.NAMES, 0.25)
    assert [row["step"] for row in monitors.course([line(5)], 8)] == [5]
    assert monitors.course([], 8) == []


@pytest.fixture(scope="module")
def trained(batch):
    """Some steps of a GAN: the state and metrics after each, and the function that takes one."""
    config = tiny.config(**FIELDS | GENTLE)
    devices = parallel.create(config.parallel.mesh)
    arm = _arm(**GENTLE)
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), {})
    on_devices = devices.shard_batch(batch)
    advance = lambda state: jax.device_get(step(devices.adopt_state(_placed(devices, arm, state)), on_devices))  # noqa: E731
    states = [(jax.device_get(devices.create_state(arm.init)), {})]
    for _ in range(NUM_STEPS):
        states.append(advance(states[-1][0]))
    return config, states, advance


def _placed(devices, arm, state):
    return jax.tree.map(lambda leaf, s: jax.device_put(leaf, s.sharding), state, devices.abstract_state(arm.init))


def test_the_discriminator_learns(trained):
    _, states, _ = trained
    sums = states[-1][1]
    assert sums["accuracy_real"][0] == sums["accuracy_fake"][0] == 4.0


def test_penalties_come_every_so_many_steps(trained):
    _, states, _ = trained
    assert [float(sums["r1"][1]) for _, sums in states[1:6]] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert states[1][1]["r1"][0] > 0 == states[2][1]["r1"][0]


def test_the_generator_heeds_nobody_before_the_start(trained):
    _, states, _ = trained
    weights = [float(sums["adversarial_weight"][0]) for _, sums in states[1:6]]
    np.testing.assert_allclose(weights, [0, 0, 4 * 0.2, 4 * 0.2, 4 * 0.2], rtol=1e-6)


def test_a_step_moves_the_average_the_vectors_and_the_discriminator(trained):
    config, states, _ = trained
    before, after = states[-2][0], states[-1][0]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    averaged = jax.tree.map(lambda old, new: 0.6 * old + 0.4 * new, before.ema, after.params)
    jax.tree.map(close, after.ema, averaged)
    params, vectors = before.extras.params, before.extras.vectors
    kernel = params["encoder0"]["kernel"].reshape(-1, params["encoder0"]["kernel"].shape[-1])
    vector = kernel.T @ (kernel @ vectors["encoder0/kernel"])
    close(after.extras.vectors["encoder0/kernel"], vector / np.linalg.norm(vector))
    assert not np.allclose(after.extras.vectors["encoder0/kernel"], vectors["encoder0/kernel"], rtol=1e-4, atol=1e-6)
    # Adam, at twice the generator's rate of 1e-3. Without momentum the first moment is the gradient itself.
    adam = after.extras.opt_state[0]
    root = jax.tree.map(lambda square: np.sqrt(square / (1 - 0.99**NUM_STEPS)) + 1e-8, adam.nu)
    moved = jax.tree.map(lambda old, gradient, root: old - 2e-3 * gradient / root, params, adam.mu, root)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), after.extras.params, moved)


@pytest.mark.slow
def test_a_relativistic_gan_with_both_penalties_sharpens_what_a_cnn_would_blur(batch):
    fields = {"gan__loss": "relativistic", "gan__r2": 0.1, "gan__start": 0}
    fields |= {"gan__scales": 1, "gan__width": 4, "model__width": 4}
    config = tiny.config(**FIELDS | GENTLE | fields)
    config_lib.validate(config)
    devices, arm = parallel.create(config.parallel.mesh), _arm(**GENTLE | fields)
    state = devices.create_state(arm.init)
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), {})
    on_devices, seen = devices.shard_batch(batch), []
    for _ in range(61):  # the penalties are due in the last
        state, sums = step(state, on_devices)
        seen.append(metrics.compute(jax.device_get(sums)))
    # The images are noise, which nobody can restore from a sixteenth: the pull towards them all is to a flat grey.
    assert seen[0]["sharpness"] < 0.1 and seen[-1]["sharpness"] > 0.3
    assert seen[-1]["loss_discriminator"] < 0.6 < seen[0]["loss_discriminator"]
    assert seen[-1]["r1"] > 0 and seen[-1]["r2"] > 0


def test_a_saved_gan_goes_on_as_if_nothing_had_happened(trained, tmp_path):
    config, states, advance = trained
    middle = NUM_STEPS // 2
    manager = checkpoints.Checkpoints(tmp_path, keep=1, best_metric="step")
    manager.save(states[middle][0], middle, {"psnr": 20.0})
    manager.wait()
    shapes = parallel.on_one_device(jax.eval_shape(lambda: states[0][0]))
    state = jax.device_get(manager.restore(shapes, middle))
    manager.close()
    for _ in range(middle, NUM_STEPS):
        state, _ = advance(state)
    jax.tree.map(np.testing.assert_array_equal, state, states[-1][0])
    (tmp_path / "config.json").write_text(config_lib.to_json(config))
    opponent = checkpoints.load_discriminator(tmp_path)
    expected = states[middle][0].extras
    jax.tree.map(
        np.testing.assert_array_equal, opponent.params, discriminators.Variables(expected.params, expected.vectors)
    )


def test_what_is_not_there_is_said(tmp_path):
    for fields, message in [
        ({"gan__loss": "wasserstein"}, "hinge, non_saturating, relativistic"),
        ({"gan__augment": ("blur",)}, "color, translation, cutout"),
        ({"gan__width": 0}, "at least 1"),
        ({"gan__dtype": "float16"}, "float32, bfloat16"),
    ]:
        with pytest.raises(UserError, match=message):
            _arm(**fields)
    with pytest.raises(UserError, match="multiples of 64"):
        jax.eval_shape(_arm(gan__scales=5).init)
    alone = {"gan__loss": "relativistic", "gan__r1": 1.0}
    for fields, message in [
        ({"gan__r1": -1.0}, "at least 0"),
        ({"gan__b2": 2.0}, "gan.b2 is 2.0; it must be at least 0 and below 1"),
        ({"gan__eps": -1.0}, "above 0"),
        ({"gan__lr_ratio": 0.0}, "above 0"),
        ({"loss__perceptual": -1.0}, "loss.perceptual is -1.0; it must be at least 0"),
        ({"loss__charbonnier": 0.0}, "every weight of config.loss is 0"),
        ({"eval__best_metric": "psnr"}, "make it step"),
        (alone, "both penalties; give config.gan.r1 and config.gan.r2"),
    ]:
        with pytest.raises(UserError, match=message):
            config_lib.validate(tiny.config(**FIELDS | fields))
    config = tiny.config(**FIELDS | {"gan__start": 40})
    arms.check_length(config, 41)
    with pytest.raises(UserError, match="40 steps of 40 in all: the generator would never heed"):
        arms.check_length(config, 40)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no discriminator"):
        checkpoints.load_discriminator(tmp_path)
