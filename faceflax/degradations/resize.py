"""Resizing as products with dense weight matrices, whose sizes may be traced.

A matrix has the shape of a fixed canvas; the picture fills its first rows and columns and its last pixel is repeated
to the canvas's end (which is also what a JPEG encoder does to fill its blocks).
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array


def bicubic_weights(canvas_out: int, canvas_in: int, size_out: Array | int, size_in: Array | int) -> Array:
    """Weights [canvas_out, canvas_in] of antialiased bicubic resizing, as Pillow's `BICUBIC` (Keys, a = -0.5)."""
    scale = size_in / jnp.asarray(size_out, jnp.float32)
    row = jnp.minimum(np.arange(canvas_out), size_out - 1)[:, None]
    column = np.arange(canvas_in)[None, :]
    distance = (column + 0.5 - (row + 0.5) * scale) / jnp.maximum(scale, 1.0)
    weights = jnp.where(column < size_in, _keys(distance), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _keys(distance: Array) -> Array:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE Trans. ASSP 29, 1981, eq. 15)."""
    x = jnp.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


def bilinear_weights(canvas_out: int, canvas_in: int, size_out: Array | int, size_in: Array | int) -> Array:
    """Weights [canvas_out, canvas_in] of bilinear resizing that does not antialias, as OpenCV's `INTER_LINEAR`."""
    scale = size_in / jnp.asarray(size_out, jnp.float32)
    row = jnp.minimum(np.arange(canvas_out), size_out - 1)[:, None]
    centre = jnp.clip((row + 0.5) * scale - 0.5, 0.0, size_in - 1.0)
    return jnp.maximum(0.0, 1.0 - jnp.abs(np.arange(canvas_in)[None, :] - centre))


def apply(rows: Array, columns: Array, image: Array) -> Array:
    """Multiplies the rows of `image` [H, W, C] by `rows` [H', H] and its columns by `columns` [W', W].

    The product of the rows is one flat product; that of the columns needs the channels moved, so it is taken where the
    picture has the fewer rows.
    """
    if rows.shape[0] > rows.shape[1]:
        return _apply_rows(rows, _apply_columns(columns, image))
    return _apply_columns(columns, _apply_rows(rows, image))


def _apply_rows(rows: Array, image: Array) -> Array:
    height, width, channels = image.shape
    product = jnp.matmul(rows, image.reshape(height, width * channels), precision="highest")
    return product.reshape(-1, width, channels)


def _apply_columns(columns: Array, image: Array) -> Array:
    height, width, channels = image.shape
    lines = image.transpose(0, 2, 1).reshape(height * channels, width)
    product = jnp.matmul(lines, columns.T, precision="highest")
    return product.reshape(height, channels, -1).transpose(0, 2, 1)


def down_up(image: Array, factor: Array | float, weights: Callable[..., Array] = bicubic_weights) -> Array:
    """Shrinks `image` [H, W, C] by `factor` (its sides rounded to whole pixels) and enlarges it to its size again."""
    matrices = []
    for size in image.shape[:2]:
        small = small_size(size, factor)
        matrices.append(
            jnp.matmul(weights(size, size, size, small), weights(size, size, small, size), precision="highest")
        )
    return apply(*matrices, image)


def small_size(size: int, factor: Array | float) -> Array:
    """Returns `size / factor` as a whole number of pixels between 1 and `size`."""
    return jnp.clip(jnp.round(size / jnp.asarray(factor, jnp.float32)), 1, size).astype(jnp.int32)
