"""Convolutions over NHWC images, written so that XLA's CPU backend is fast and accelerators keep their own kernels.

All have stride 1, no bias, and zero padding that keeps height and width. They are pure functions with exact
gradients. What the choices for 3x3 gain, in milliseconds, is in `docs/performance.md`. Compile what uses them with
`CPU_COMPILER_OPTIONS` on a CPU.
"""

import functools
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jax import lax

from faceflax import by_device

_LAYOUT = ("NHWC", "HWIO", "NHWC")


# For `jax.jit(..., compiler_options=...)` on CPU. XLA there gives convolutions to its YNNPACK library, which runs those
# of few channels on one thread, and weight gradients three to four times slower than the Eigen kernels it replaces.
# The first option leaves that library products and sums only. LLVM's full effort doubles the time of compilation and
# gains nothing, as the time is spent in these libraries; with none at all the rest takes twice as long.
CPU_COMPILER_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
    "xla_backend_optimization_level": "1",
}


# As the switch of `by_device`, part of the key under which JAX keeps what it has traced.
_is_in_rows = jax.make_user_context(False)


def in_rows() -> AbstractContextManager:
    """What is traced within keeps height apart from the batch: for images that are split by rows over devices."""
    return _is_in_rows(True)


def conv1x1(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Mixes channels: `images` [B, H, W, C] times `kernel` [C, O] gives [B, H, W, O].

    One flat matrix product, on which the CPU's weight gradient is several times faster than on a convolution. For it
    images that are split by rows (`in_rows`) would be gathered on every device.
    """
    if _is_in_rows.value:
        return images @ kernel
    return (images.reshape(-1, images.shape[-1]) @ kernel).reshape(*images.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def conv3x3(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `images` [B, H, W, C] with `kernel` [3, 3, C, O]; gives [B, H, W, O]."""
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def _conv3x3_forward(images, kernel):
    return conv3x3(images, kernel), (images, kernel)


def _conv3x3_backward(residuals, gradient):
    images, kernel = residuals
    return _conv3x3_adjoint(gradient, kernel), kernel_gradient(images, gradient)


def _conv3x3_adjoint(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the gradient [B, H, W, C] of `conv3x3`'s images, given that of its result."""
    return conv3x3(gradient, kernel[::-1, ::-1].swapaxes(2, 3))


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


@jax.custom_vjp
def kernel_gradient(images: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the gradient [3, 3, C, O] of `conv3x3`'s kernel.

    Takes its `images` [B, H, W, C] and the gradient of its result, [B, H, W, O]. Its own gradients, which penalties on
    gradients need, are convolutions again.
    """
    return by_device.choose(
        images, gradient, cpu=kernel_gradient_over_fewer_channels, default=kernel_gradient_over_images
    )


def _kernel_gradient_forward(images, gradient):
    return kernel_gradient(images, gradient), (images, gradient)


def _kernel_gradient_backward(residuals, cotangent):
    images, gradient = residuals
    return _conv3x3_adjoint(gradient, cotangent), conv3x3(images, cotangent)


kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


def kernel_gradient_over_images(images: jax.Array, gradient: jax.Array) -> jax.Array:
    """Computes `kernel_gradient` as accelerators' libraries know it.

    Channels and batch change places: the images are correlated with the gradient as if that were a kernel of their own
    size.
    """
    return lax.conv_general_dilated(
        images, gradient, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("CHWN", "IHWO", "HWNC")
    )


def kernel_gradient_over_fewer_channels(images: jax.Array, gradient: jax.Array) -> jax.Array:
    """Computes `kernel_gradient` with the two exchanged where `gradient` has fewer channels.

    The CPU copies nine shifts of the first operand, so that should be the smaller. The axes are exchanged by hand: the
    CPU's compiler does it in a program's main part alone, and is 40 times slower inside a branch or a loop.
    """
    if gradient.shape[-1] < images.shape[-1]:
        return kernel_gradient_over_fewer_channels(gradient, images)[::-1, ::-1].swapaxes(2, 3)
    images, gradient = images.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
    kernels = lax.conv_general_dilated(images, gradient, (1, 1), ((1, 1), (1, 1)), dimension_numbers=_LAYOUT)
    return kernels.transpose(1, 2, 0, 3)


def depthwise3x3(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates each channel of `images` [B, H, W, C] with its own `kernel` [3, 3, C]; gives [B, H, W, C]."""
    return by_device.choose(images, kernel, cpu=depthwise3x3_by_shifts, default=depthwise3x3_by_convolution)


def depthwise3x3_by_convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `depthwise3x3` as a grouped convolution."""
    channels = images.shape[-1]
    return lax.conv_general_dilated(
        images, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=_LAYOUT, feature_group_count=channels
    )


@jax.custom_vjp
def depthwise3x3_by_shifts(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `depthwise3x3` as nine shifted multiply-adds."""
    terms = [shifted * kernel[row, column] for row, column, shifted in _shifts(images)]
    return functools.reduce(jnp.add, terms)


def _depthwise_forward(images, kernel):
    return depthwise3x3_by_shifts(images, kernel), (images, kernel)


def _depthwise_backward(residuals, gradient):
    images, kernel = residuals
    sums = [jnp.sum(shifted * gradient, (0, 1, 2)) for _, _, shifted in _shifts(images)]
    return depthwise3x3_by_shifts(gradient, kernel[::-1, ::-1]), jnp.stack(sums).reshape(kernel.shape)


depthwise3x3_by_shifts.defvjp(_depthwise_forward, _depthwise_backward)


def _shifts(images: jax.Array) -> list[tuple[int, int, jax.Array]]:
    """Returns (row, column, images as that tap of a 3x3 kernel sees them) for the nine taps."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(row, column) for row in range(3) for column in range(3)]
    return [(row, column, padded[:, row : row + height, column : column + width]) for row, column in taps]
