"""The encoder-decoder keeps its promises, with both blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax import models
from faceflax.errors import UserError
from faceflax.models.inpainting import fill_holes
from faceflax.models.layers import depth_to_space, space_to_depth


def _config(**fields) -> ConfigDict:
    model = config_lib.default().model
    model.update({"width": 8, "encoder_blocks": (1, 1), "decoder_blocks": (1, 1), "middle_blocks": 1} | fields)
    return model


def _trained(model, scale=0.2):
    """Parameters as training might leave them: none of them zero."""
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), 16)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + scale * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.random((3, 16, 24, 3)), jnp.float32)
    mask = jnp.zeros((3, 16, 24, 1)).at[1, 4:9, 5:12].set(1.0)
    return images, mask


@pytest.mark.parametrize("block", ["residual", "nafnet"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_untrained_model_is_the_identity_with_holes_filled(block, dtype, batch):
    images, mask = batch
    model = models.create(_config(block=block, dtype=dtype))
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), 16)
    restored = jax.jit(model.apply)(params, images, mask)
    assert restored.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(restored, fill_holes(images, mask), atol=1e-6)


@pytest.mark.parametrize("block", ["residual", "nafnet"])
def test_known_pixels_of_an_image_with_a_hole_are_its_own(block, batch):
    images, mask = batch
    model = models.create(_config(block=block))
    params = _trained(model)
    apply = jax.jit(model.apply)
    restored = np.asarray(apply(params, images, mask))
    known = np.asarray(mask[1, ..., 0]) == 0
    np.testing.assert_array_equal(restored[1][known], np.asarray(images)[1][known])
    assert (restored[1][~known] != np.asarray(images)[1][~known]).all()
    assert (restored[0] != np.asarray(images)[0]).mean() > 0.99
    hidden = apply(params, jnp.where(mask > 0, 0.123, images), mask)
    np.testing.assert_array_equal(restored, hidden)


@pytest.mark.parametrize("block", ["residual", "nafnet"])
@pytest.mark.parametrize("patch", [1, 2])
def test_every_parameter_has_a_part_in_the_result(block, patch, batch):
    images, mask = batch
    model = models.create(_config(block=block, patch=patch))
    params = _trained(model)
    gradients = jax.jit(jax.grad(lambda params: jnp.square(model.apply(params, images, mask)).mean()))(params)
    assert all(float(jnp.abs(gradient).max()) > 0 for gradient in jax.tree.leaves(gradients))


@pytest.mark.parametrize("block", ["residual", "nafnet"])
def test_bfloat16_is_close_to_float32(block, batch):
    images, mask = batch
    model, half = models.create(_config(block=block)), models.create(_config(block=block, dtype="bfloat16"))
    params = _trained(model, scale=0.02)
    restored = [jax.jit(each.apply)(params, images, mask) for each in (half, model)]
    np.testing.assert_allclose(*restored, atol=0.05)


def test_reference_model_has_about_three_million_parameters():
    model = models.create(config_lib.default().model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), 128))
    assert 2.5e6 < sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 4e6


def test_sides_must_be_multiples(batch):
    model = models.create(_config())
    assert model.multiple == 8
    with pytest.raises(UserError, match="multiples of 8"):
        model.init(jax.random.key(0), 20)
    with pytest.raises(UserError, match="multiples of 8"):
        model.apply({}, jnp.zeros((1, 12, 16, 3)), jnp.zeros((1, 12, 16, 1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block": "resnet"}, "choose one of nafnet, residual"),
        ({"name": "unet"}, "choose one of encoder_decoder"),
        ({"dtype": "float16"}, "choose one of float32, bfloat16"),
        ({"width": 0}, "at least 1"),
        ({"encoder_blocks": (1, 1, 1)}, "as many in both"),
    ],
)
def test_models_that_do_not_exist_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        models.create(_config(**fields))


def test_space_to_depth_keeps_every_pixel_in_its_square():
    images = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    folded = space_to_depth(images, 2)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(folded[1, 1, 2], images[1, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(depth_to_space(folded, 2), images)
