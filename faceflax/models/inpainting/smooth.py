"""Holes filled smoothly, by nothing but the pixels around them."""

import jax.numpy as jnp
from jax import Array, lax

from faceflax.models import resampling


def fill_holes(images: Array, mask: Array) -> Array:
    """Fills missing pixels with averages of the known ones around them; known pixels stay as they are, exactly.

    Pull-push (Gortler et al., SIGGRAPH 1996, section 3.4): colours are averaged over ever larger squares, each counted
    by its known pixels, and what is unknown at a scale is interpolated from the next coarser one. What an image shows
    under its mask has no influence. On the test faces of `mini_faces` the holes of `occlude` 10, 25, 50 come to 18.8,
    16.7, 15.3 dB; Telea's method (radius 8) gives 18.7, 16.6, 15.0 dB.

    Args:
      images: [B, H, W, C]; one without any known pixel gets zeros.
      mask: [B, H, W, 1], 1 where pixels are missing.

    Returns:
      [B, H, W, C], like `images`.
    """
    known = 1 - mask
    levels = [(images * known, known)]  # at each scale: colours times confidence, and the confidence, at most 1
    while all(side % 2 == 0 for side in levels[-1][0].shape[1:3]):
        colours, confidence = (_sum_squares(level) for level in levels[-1])
        limit = jnp.minimum(confidence, 1) / jnp.maximum(confidence, 1e-6)
        levels.append((colours * limit, confidence * limit))
    colours, confidence = (level.sum((1, 2), keepdims=True) for level in levels[-1])
    filled = colours / jnp.maximum(confidence, 1e-6)
    for scale, (colours, confidence) in enumerate(reversed(levels)):
        filled = colours + (1 - confidence) * (_double(filled) if scale else filled)
    return filled


def _sum_squares(images: Array) -> Array:
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).sum((2, 4))


def _double(images: Array) -> Array:
    """Enlarges twice by linear interpolation: [B, H, W, C] -> [B, 2 * H, 2 * W, C]."""
    rows, columns = (resampling.linear(2 * side, side) for side in images.shape[1:3])
    return jnp.einsum("bhwc,yh,xw->byxc", images, rows, columns, precision=lax.Precision.HIGHEST)
