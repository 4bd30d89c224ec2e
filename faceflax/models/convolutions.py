"""Convolutions over NHWC images, written so that XLA's CPU backend is fast and accelerators keep their own kernels.

All have stride 1, no bias, and zero padding that keeps height and width. They are pure functions with exact
gradients; the measurements behind each choice are in `docs/performance.md`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv1x1(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Mixes channels: `images` [B, H, W, C] times `kernel` [C, O] gives [B, H, W, O].

    One flat matrix product, on which the CPU's weight gradient is several times faster than on a convolution.
    """
    return (images.reshape(-1, images.shape[-1]) @ kernel).reshape(*images.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def conv3x3(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates `images` [B, H, W, C] with `kernel` [3, 3, C, O]; gives [B, H, W, O]."""
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def _conv3x3_forward(images, kernel):
    return conv3x3(images, kernel), (images, kernel)


def _conv3x3_backward(residuals, gradient):
    images, kernel = residuals
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    image_gradient = lax.conv_general_dilated(gradient, turned, (1, 1), "SAME", dimension_numbers=_LAYOUT)
    kernel_gradient = lax.platform_dependent(
        images, gradient, cpu=conv3x3_kernel_gradient_by_products, default=conv3x3_kernel_gradient_by_convolution
    )
    return image_gradient, kernel_gradient.astype(kernel.dtype)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def conv3x3_kernel_gradient_by_convolution(images: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the gradient [3, 3, C, O] of `conv3x3`'s kernel.

    Takes its `images` [B, H, W, C] and the gradient of its result, [B, H, W, O].
    """
    return lax.conv_general_dilated(
        images, gradient, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("CHWN", "IHWO", "HWNC")
    )


def conv3x3_kernel_gradient_by_products(images: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns what `conv3x3_kernel_gradient_by_convolution` does, as nine matrix products of shifted images."""
    _, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    flat = gradient.reshape(-1, gradient.shape[-1])
    taps = [
        padded[:, dy : dy + height, dx : dx + width].reshape(-1, channels).T @ flat
        for dy in range(3)
        for dx in range(3)
    ]
    return jnp.stack(taps).reshape(3, 3, channels, -1)


def depthwise3x3(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlates each channel of `images` [B, H, W, C] with its own `kernel` [3, 3, C]; gives [B, H, W, C]."""
    return lax.platform_dependent(images, kernel, cpu=depthwise3x3_by_shifts, default=depthwise3x3_by_convolution)


def depthwise3x3_by_convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `depthwise3x3` as a grouped convolution."""
    channels = images.shape[-1]
    return lax.conv_general_dilated(
        images, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=_LAYOUT, feature_group_count=channels
    )


@jax.custom_vjp
def depthwise3x3_by_shifts(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `depthwise3x3` as nine shifted multiply-adds."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    terms = [padded[:, dy : dy + height, dx : dx + width] * kernel[dy, dx] for dy in range(3) for dx in range(3)]
    return functools.reduce(jnp.add, terms)


def _depthwise_forward(images, kernel):
    return depthwise3x3_by_shifts(images, kernel), (images, kernel)


def _depthwise_backward(residuals, gradient):
    images, kernel = residuals
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [
        jnp.sum(padded[:, dy : dy + height, dx : dx + width] * gradient, (0, 1, 2))
        for dy in range(3)
        for dx in range(3)
    ]
    return depthwise3x3_by_shifts(gradient, kernel[::-1, ::-1]), jnp.stack(taps).reshape(kernel.shape)


depthwise3x3_by_shifts.defvjp(_depthwise_forward, _depthwise_backward)
