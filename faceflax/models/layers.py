"""Linen layers over `convolutions`: parameters in float32, arithmetic in the layer's `dtype`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models import convolutions

DTYPES = ("float32", "bfloat16")  # of activations
Initializer = Callable[..., jax.Array]
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
lecun_normal = nn.initializers.lecun_normal()


class Conv3x3(nn.Module):
    """A 3x3 convolution with bias: [B, H, W, C] -> [B, H, W, features]."""

    features: int
    kernel_init: Initializer = lecun_normal
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns the convolution of `images`."""
        kernel = self.param("kernel", self.kernel_init, (3, 3, images.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolutions.conv3x3(images.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)


class Conv1x1(nn.Module):
    """The same linear map at every pixel, with bias: [B, H, W, C] -> [B, H, W, features]."""

    features: int
    kernel_init: Initializer = lecun_normal
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns `images` mapped."""
        kernel = self.param("kernel", self.kernel_init, (images.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolutions.conv1x1(images.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)


class Depthwise3x3(nn.Module):
    """A 3x3 convolution of each channel with its own kernel, with bias: [B, H, W, C] -> [B, H, W, C]."""

    kernel_init: Initializer = nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2
    )
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns the convolution of `images`."""
        channels = images.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (3, 3, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        return convolutions.depthwise3x3(images.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)


class LayerNorm(nn.Module):
    """Normalises the channels of each pixel in float32 (Ba et al. 2016), then scales and shifts them."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns `images` normalised, in their own dtype."""
        scale = self.param("scale", nn.initializers.ones, (images.shape[-1],))
        shift = self.param("shift", nn.initializers.zeros, (images.shape[-1],))
        values = images.astype(jnp.float32)
        centred = values - values.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * jax.lax.rsqrt(variance + self.epsilon) * scale + shift).astype(images.dtype)


def space_to_depth(images: jax.Array, side: int) -> jax.Array:
    """Folds squares of pixels into channels: [B, H, W, C] -> [B, H / side, W / side, side * side * C]."""
    batch, height, width, channels = images.shape
    squares = images.reshape(batch, height // side, side, width // side, side * channels)
    return squares.swapaxes(2, 3).reshape(batch, height // side, width // side, side * side * channels)


def depth_to_space(images: jax.Array, side: int) -> jax.Array:
    """The inverse of `space_to_depth`: [B, H, W, side * side * C] -> [B, H * side, W * side, C]."""
    batch, height, width, channels = images.shape
    squares = images.reshape(batch, height, width, side, channels // side).swapaxes(2, 3)
    return squares.reshape(batch, height * side, width * side, channels // side**2)
