"""The encoder-decoder: its size, its untrained answer, known pixels, precision, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax import models
from faceflax.errors import UserError

SIDE = 32


def _config(**fields):
    config = config_lib.default().model
    config.update({"width": 8, "encoder_blocks": (1, 1), "decoder_blocks": (1, 1), "middle_blocks": 1} | fields)
    return config


def _model_and_params(**fields):
    model = models.create(_config(**fields))
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), SIDE)
    return model, params


def _with_random_head(params):
    kernel = 0.1 * jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    return params | {"head": params["head"] | {"kernel": kernel}}


def _batch(side=SIDE):
    images = jax.random.uniform(jax.random.key(2), (3, side, side, 3))
    return images, jnp.zeros((3, side, side, 1)).at[1, 4:12, 4:12].set(1)


def test_the_reference_has_about_three_million_parameters():
    model = models.create(config_lib.default().model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), 128))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == pytest.approx(3.4e6, rel=0.1)


@pytest.mark.parametrize("block", ["residual", "nafnet"])
def test_untrained_it_returns_what_is_known(block):
    model, params = _model_and_params(block=block)
    images, mask = _batch()
    restored = jax.jit(model.apply)(params, images, mask)
    np.testing.assert_allclose(restored * (1 - mask), images * (1 - mask), atol=1e-6)


@pytest.mark.parametrize("block", ["residual", "nafnet"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_known_pixels_of_a_holed_image_are_its_own_to_the_bit(block, dtype):
    model, params = _model_and_params(block=block, dtype=dtype)
    images, mask = _batch()
    restored = jax.jit(model.apply)(_with_random_head(params), images, mask)
    assert restored.dtype == jnp.float32
    known = mask[1, :, :, 0] == 0
    assert (restored[1][known] == images[1][known]).all()
    assert (restored[1][~known] != images[1][~known]).all()
    assert (restored[0] != images[0]).mean() > 0.9  # no hole: every pixel is the network's


def test_half_precision_stays_close():
    images, mask = _batch()
    model, params = _model_and_params()
    half, _ = _model_and_params(dtype="bfloat16")
    params = _with_random_head(params)
    whole, rounded = (jax.jit(m.apply)(params, images, mask) for m in (model, half))
    assert jnp.abs(whole - rounded).max() < 0.05 * jnp.abs(whole - images).max() + 0.02


@pytest.mark.parametrize(("patch", "multiple"), [(1, 4), (2, 8)])
def test_sides_are_multiples(patch, multiple):
    model, params = _model_and_params(patch=patch)
    assert model.multiple == multiple
    images, mask = jnp.zeros((1, 2 * multiple, 3 * multiple, 3)), jnp.zeros((1, 2 * multiple, 3 * multiple, 1))
    assert jax.eval_shape(model.apply, params, images, mask).shape == images.shape
    with pytest.raises(UserError, match=f"multiples of {multiple}"):
        model.apply(params, images[:, 1:], mask[:, 1:])
    with pytest.raises(UserError, match=f"multiples of {multiple}"):
        model.init(jax.random.key(0), multiple + 1)


@pytest.mark.parametrize("block", ["residual", pytest.param("nafnet", marks=pytest.mark.slow)])
def test_a_few_steps_reduce_the_loss_and_reach_every_parameter(block):
    model, params = _model_and_params(block=block)
    target, mask = _batch()
    degraded = target + 0.2 * jax.random.normal(jax.random.key(3), target.shape)

    @jax.jit
    def step(params):
        loss, gradients = jax.value_and_grad(lambda p: jnp.mean((model.apply(p, degraded, mask) - target) ** 2))(params)
        params = jax.tree.map(lambda p, g: p - 2e-3 * jnp.sign(g), params, gradients)
        return params, loss, gradients

    losses = []
    for _ in range(12):
        params, loss, gradients = step(params)
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("block", ["residual", pytest.param("nafnet", marks=pytest.mark.slow)])
def test_blocks_computed_again_give_the_same_gradients_and_keep_less(block):
    images, mask = _batch()
    grads, kept = {}, {}
    for remat in (False, True):
        model, params = _model_and_params(block=block, encoder_blocks=(3, 1), remat=remat)
        loss = lambda params, apply=model.apply: jnp.mean(jnp.square(apply(params, images, mask) - 0.5))  # noqa: E731
        grads[remat] = jax.jit(jax.grad(loss))(_with_random_head(params))
        # What XLA makes of it on a CPU is the same program: the function that goes back holds what was kept for it.
        residuals = jax.tree.leaves(jax.eval_shape(lambda p, loss=loss: jax.vjp(loss, p)[1], params))
        kept[remat] = sum(leaf.size for leaf in residuals) - sum(leaf.size for leaf in jax.tree.leaves(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads[True], grads[False])
    assert kept[True] < 0.8 * kept[False], kept


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "unet"}, "encoder_decoder"),
        ({"block": "dense"}, "nafnet, residual"),
        ({"dtype": "float16"}, "float32, bfloat16"),
        ({"encoder_blocks": (1, 1, 1)}, "as many in both"),
        ({"width": 0}, "width"),
        ({"patch": 0}, "patch"),
    ],
)
def test_what_makes_no_network_is_one_sentence(fields, message):
    with pytest.raises(UserError, match=message):
        models.create(_config(**fields))
