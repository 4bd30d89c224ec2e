"""The parts that the face prior is made of: the mapping, modulated convolutions, wavelets. Pure functions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faceflax.models import convolutions

Params = dict[str, jax.Array | np.ndarray]

DIMENSION = 512
"""Numbers of a random vector z, and of a style w."""

LEVELS = 7
"""Resolutions after the first; level i has features of 8 * 2^i pixels."""

NUM_STYLES = 2 + 3 * LEVELS
"""Styles of one face (W+): the first layer's, three for each level (upsampling, two convolutions), the image's."""

SLOPE = 0.2  # of the leaky ReLU

_NUM_MAPPING_LAYERS = 8


def map_to_style(params: Params, z: jax.Array) -> jax.Array:
    """Returns the styles [B, 512] of normally distributed vectors `z` [B, 512]."""
    hidden = z * lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-8)
    for number in range(_NUM_MAPPING_LAYERS):
        hidden = hidden @ params[f"map{number}/kernel"] + params[f"map{number}/bias"]
        hidden = leaky_relu(hidden) * math.sqrt(2)
    return hidden


def truncate(params: Params, style: jax.Array, psi: jax.Array | float) -> jax.Array:
    """Returns styles [B, 512] moved towards the mean: `psi` (a number or [B, 1]) of 0 is the mean face, 1 no change."""
    return params["mean"] + psi * (style - params["mean"])


def style_of(params: Params, layer: str, style: jax.Array) -> jax.Array:
    """Returns what multiplies the channels of the layer's input, [B, 1, 1, C], for styles [B, 512]."""
    return (style @ params[f"{layer}/style/kernel"] + params[f"{layer}/style/bias"])[:, None, None]


def modulate(params: Params, layer: str, images: jax.Array, style: jax.Array) -> jax.Array:
    """Multiplies the channels of the layer's input [B, H, W, C] by `style_of`; keeps the input's dtype."""
    return images * style_of(params, layer, style).astype(images.dtype)


def separable(images: jax.Array, depthwise: jax.Array, kernel: jax.Array) -> jax.Array:
    """A depthwise 3x3 convolution ([3, 3, C]), then a 1x1 convolution ([C, O]): [B, H, W, C] to [B, H, W, O].

    In the dtype of `images`.
    """
    depthwise, kernel = depthwise.astype(images.dtype), kernel.astype(images.dtype)
    return convolutions.conv1x1(convolutions.depthwise3x3(images, depthwise), kernel)


def activate(params: Params, layer: str, images: jax.Array) -> jax.Array:
    """Adds the layer's noise, the same in all faces, and its bias; then the activation. Keeps the dtype of `images`."""
    return leaky_relu(images + (params[f"{layer}/noise"] + params[f"{layer}/bias"]).astype(images.dtype))


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns x where it is positive, else 0.2 x."""
    return jnp.maximum(x, SLOPE * x)


def inverse_haar(bands: jax.Array) -> jax.Array:
    """Joins the bands of a Haar wavelet, [B, H, W, 4C], to images [B, 2H, 2W, C].

    The first C channels are the mean of 2x2 pixels (times 2), the others their vertical, horizontal and diagonal
    detail.
    """
    mean, vertical, horizontal, diagonal = jnp.split(bands * 0.5, 4, axis=-1)
    top, top_step = mean + vertical, horizontal + diagonal
    bottom, bottom_step = mean - vertical, horizontal - diagonal
    pixels = [[top + top_step, top - top_step], [bottom + bottom_step, bottom - bottom_step]]
    images = jnp.stack([jnp.stack(row, axis=3) for row in pixels], axis=2)
    batch, height, _, width, _, channels = images.shape
    return images.reshape(batch, 2 * height, 2 * width, channels)
