"""The layers against XLA's own convolutions, scipy's correlation, and each other's gradients."""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax import lax

from faceflax.models import convolutions, layers
from faceflax.models.convolutions import CPU_COMPILER_OPTIONS

# batch, height, width, channels in, channels out: odd sides, one pixel, one image, more channels in than out.
SHAPES = [(2, 8, 8, 4, 6), (1, 7, 5, 3, 2), (3, 1, 4, 2, 5), (1, 1, 1, 4, 4), (4, 16, 12, 16, 3)]


def _normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def _reference(images, kernel, groups=1):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def _value_and_gradients(function, images, kernel):
    """The function's result, and the gradients of a weighted sum of it: weights that differ tell transposes apart."""

    @jax.jit
    def run(images, kernel):
        result, pull_back = jax.vjp(function, images, kernel)
        return result, *pull_back(_normal(9, *result.shape))

    return run(images, kernel)


def _assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * float(jnp.abs(other).max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_conv3x3_and_its_gradients_are_those_of_xla(shape):
    batch, height, width, channels, features = shape
    images, kernel = _normal(0, batch, height, width, channels), _normal(1, 3, 3, channels, features)
    ours = _value_and_gradients(convolutions.conv3x3, images, kernel)
    _assert_same(ours, _value_and_gradients(_reference, images, kernel))


@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_to_the_kernel_gradient_agree(shape):
    batch, height, width, channels, features = shape
    images, gradient = _normal(0, batch, height, width, channels), _normal(1, batch, height, width, features)
    cpu = jax.jit(convolutions.kernel_gradient_over_fewer_channels)(images, gradient)
    accelerator = jax.jit(convolutions.kernel_gradient_over_images)(images, gradient)
    _assert_same([cpu], [accelerator])


def test_conv3x3_correlates_as_scipy_does():
    images, kernel = np.asarray(_normal(0, 1, 9, 6, 1)), np.asarray(_normal(1, 3, 3, 1, 1))
    expected = scipy.ndimage.correlate(images[0, :, :, 0], kernel[:, :, 0, 0], mode="constant")
    np.testing.assert_allclose(convolutions.conv3x3(images, kernel)[0, :, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize("inner", [0, 1])
def test_conv3x3_can_be_differentiated_twice(inner):
    arguments = _normal(0, 1, 4, 4, 2), _normal(1, 3, 3, 2, 1)

    def penalty(function, *arguments):  # of a gradient, as R1 is
        total = lambda *arguments: jnp.sum(function(*arguments) ** 2)  # noqa: E731
        return jnp.sum(jax.grad(total, inner)(*arguments) ** 2)

    ours, theirs = (
        jax.jit(jax.grad(lambda *a, f=f: penalty(f, *a), (0, 1)))(*arguments)
        for f in (convolutions.conv3x3, _reference)
    )
    _assert_same(ours, theirs)


def test_a_branch_computes_gradients_as_fast_as_the_main_program():
    images, kernel = _normal(0, 4, 32, 32, 32), _normal(1, 3, 3, 32, 32)

    def gradient(images, kernel):
        return jax.grad(lambda k: jnp.sum(convolutions.conv3x3(convolutions.conv3x3(images, k), k) ** 2))(kernel)

    def milliseconds(function):
        run = jax.jit(function, compiler_options=CPU_COMPILER_OPTIONS)
        times = []
        for _ in range(12):
            start = time.perf_counter()
            jax.block_until_ready(run(images, kernel, 1))
            times.append(1e3 * (time.perf_counter() - start))
        return min(times[2:])

    in_branch = milliseconds(lambda i, k, n: lax.cond(n > 0, gradient, lambda i, k: jnp.zeros_like(k), i, k))
    assert in_branch < 5 * milliseconds(lambda i, k, n: gradient(i, k))  # 40 times as slow where XLA must swap axes


@pytest.mark.parametrize("shape", SHAPES)
def test_conv1x1_and_its_gradients_are_those_of_xla(shape):
    batch, height, width, channels, features = shape
    images, kernel = _normal(0, batch, height, width, channels), _normal(1, channels, features)
    ours = _value_and_gradients(convolutions.conv1x1, images, kernel)
    _assert_same(ours, _value_and_gradients(lambda x, k: _reference(x, k[None, None]), images, kernel))


def test_what_was_compiled_is_traced_anew_for_images_split_by_rows():
    compiled, shapes = jax.jit(convolutions.conv1x1), (_normal(0, 2, 4, 4, 3), _normal(1, 3, 5))
    program = lambda: compiled.lower(*shapes).as_text()  # noqa: E731
    assert "reshape" in program()
    with convolutions.in_rows():
        assert "reshape" not in program()
    assert "reshape" in program()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "function",
    [convolutions.depthwise3x3, convolutions.depthwise3x3_by_shifts, convolutions.depthwise3x3_by_convolution],
)
def test_depthwise_and_its_gradients_are_those_of_xla(function, shape):
    batch, height, width, channels, _ = shape
    images, kernel = _normal(0, batch, height, width, channels), _normal(1, 3, 3, channels)
    ours = _value_and_gradients(function, images, kernel)
    theirs = _value_and_gradients(lambda x, k: _reference(x, k[:, :, None], channels), images, kernel)
    _assert_same(ours, theirs)


def test_depthwise_correlates_each_channel_as_scipy_does():
    images, kernel = np.asarray(_normal(0, 1, 9, 6, 2)), np.asarray(_normal(1, 3, 3, 2))
    ours = convolutions.depthwise3x3(images, kernel)
    for channel in range(2):
        expected = scipy.ndimage.correlate(images[0, :, :, channel], kernel[:, :, channel], mode="constant")
        np.testing.assert_allclose(ours[0, :, :, channel], expected, atol=1e-4)


def test_the_cpu_options_are_known_to_the_compiler_and_change_no_result():
    images, kernel = _normal(0, 2, 8, 8, 4), _normal(1, 3, 3, 4, 4)
    with_options = jax.jit(convolutions.conv3x3, compiler_options=convolutions.CPU_COMPILER_OPTIONS)
    _assert_same([with_options(images, kernel)], [_reference(images, kernel)])


def test_space_to_depth_keeps_squares_in_reading_order():
    image = jnp.arange(16).reshape(1, 4, 4, 1)
    assert layers.space_to_depth(image, 2)[0, 0, 0].tolist() == [0, 1, 4, 5]
    assert layers.space_to_depth(image, 2)[0, 1, 0].tolist() == [8, 9, 12, 13]


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 2), (6, 12, 3), (5, 7, 1)])
def test_depth_to_space_undoes_space_to_depth(height, width, side):
    images = _normal(0, 2, height, width, 5)
    folded = layers.space_to_depth(images, side)
    assert folded.shape == (2, height // side, width // side, 5 * side * side)
    assert (layers.depth_to_space(folded, side) == images).all()


def test_layer_norm_is_that_of_linen():
    images = 3 + 2 * _normal(0, 2, 4, 4, 6)
    ours, theirs = layers.LayerNorm(), nn.LayerNorm()
    params = {"scale": _normal(1, 6), "shift": _normal(2, 6)}
    linen = {"scale": params["scale"], "bias": params["shift"]}
    _assert_same([ours.apply({"params": params}, images)], [theirs.apply({"params": linen}, images)])


HALF = jnp.bfloat16


@pytest.mark.parametrize(
    "layer", [layers.Conv3x3(4, dtype=HALF), layers.Conv1x1(4, dtype=HALF), layers.Depthwise3x3(dtype=HALF)]
)
def test_parameters_are_float32_under_half_precision(layer):
    result, variables = layer.init_with_output(jax.random.key(0), _normal(0, 1, 4, 4, 4))
    assert result.dtype == HALF
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
