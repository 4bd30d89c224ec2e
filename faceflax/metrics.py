"""Distortion metrics of each image, and the sums by which they are averaged over steps, processes and tasks.

Images are float [B, H, W, 3] in [0, 1]; metrics are RGB, with no border cut off and data range 1. A metrics tree is
`dict[str, (sum, count)]`: trees are merged by addition and divided once, at the end, as means of means are wrong.
"""

from collections.abc import Mapping

import dm_pix
import jax.numpy as jnp
import numpy as np
from jax import Array

from faceflax.errors import UserError

MSE_FLOOR = 1e-10
"""Mean squared errors under this count as this: equal images have 100 dB, and a gradient of zero."""

SSIM_WINDOW = 11  # pixels; a Gaussian of standard deviation 1.5 (Wang et al., IEEE TIP 2004)
_SSIM_SIGMA = 1.5

Sums = dict[str, tuple[Array, Array]]


def psnr(a: Array, b: Array) -> Array:
    """Returns the peak signal-to-noise ratio of each image, [B] in dB, at most 100."""
    return _decibel(dm_pix.mse(_float(a), _float(b)))


def masked_psnr(a: Array, b: Array, mask: Array) -> Array:
    """Returns the PSNR [B] in dB over the pixels where `mask` [B, H, W, 1] is 1; 100 where there is none.

    Images without such pixels must not count: multiply their weight by `has_pixels(mask)`.
    """
    squared = jnp.square(_float(a) - _float(b)) * mask
    pixels = jnp.sum(mask, axis=(1, 2, 3))
    return _decibel(jnp.sum(squared, axis=(1, 2, 3)) / jnp.maximum(pixels * squared.shape[-1], 1.0))


def has_pixels(mask: Array) -> Array:
    """Returns 1.0 for each image whose `mask` [B, H, W, 1] has a pixel of 1, else 0.0: [B]."""
    return jnp.max(mask, axis=(1, 2, 3)).astype(jnp.float32)


def ssim(a: Array, b: Array) -> Array:
    """Returns the structural similarity of each image, [B] in [-1, 1]: Gaussian window 11/1.5, mean over RGB.

    Raises `UserError` for images under 11 pixels.
    """
    require_size(a, SSIM_WINDOW, "SSIM")
    return dm_pix.ssim(_float(a), _float(b), filter_fn=window_mean)


def window_mean(image: Array) -> Array:
    """Returns the mean of `image` [..., H, W, C] under SSIM's window wherever it fits: [..., H-10, W-10, C].

    dm_pix's own filter as products with banded matrices: on two CPU cores the SSIM of 16 images of 128x128 takes 12
    instead of 109 ms, its gradient 32 instead of 205 ms.
    """
    rows, columns = (_band(size) for size in image.shape[-3:-1])
    planes = jnp.matmul(rows, jnp.moveaxis(image, -1, -3), precision="highest")
    return jnp.moveaxis(jnp.matmul(planes, columns.T, precision="highest"), -3, -1)


def _band(size: int) -> np.ndarray:
    """The matrix [size - 10, size] whose every row holds the window, one pixel on."""
    offset = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-0.5 * np.square(offset / _SSIM_SIGMA))
    band = np.zeros((size - SSIM_WINDOW + 1, size), np.float32)
    for row in range(len(band)):
        band[row, row : row + SSIM_WINDOW] = window / window.sum()
    return band


def require_size(image: Array, least: int, what: str) -> None:
    """Raises `UserError` when a side of `image` [B, H, W, C] is under `least` pixels, too small for `what`."""
    height, width = image.shape[-3:-1]
    if min(height, width) < least:
        raise UserError(
            f"{what} needs images of at least {least} pixels, not {width}x{height}: use a larger image size"
        )


def _float(image: Array) -> Array:
    return jnp.asarray(image, jnp.float32)


def _decibel(mse: Array) -> Array:
    return -10.0 * jnp.log10(jnp.maximum(mse, MSE_FLOOR))


def weighted(values: Array, weight: Array) -> tuple[Array, Array]:
    """Returns (sum, count) of `values` [B] with `weight` [B]; a value of weight 0 has no part, whatever it is."""
    return jnp.sum(jnp.where(weight > 0, values * weight, 0.0)), jnp.sum(weight)


def counted(count: float, **values: Array) -> Sums:
    """Returns the metrics tree of means over `count` images, or of values that a step has one of (count 1)."""
    return {name: (value * jnp.float32(count), jnp.float32(count)) for name, value in values.items()}


def merge(a: Mapping[str, tuple[Array, Array]], b: Mapping[str, tuple[Array, Array]]) -> Sums:
    """Returns the metrics tree of what `a` and `b` have seen together; either may lack a metric."""
    merged = dict(a)
    for name, (total, count) in b.items():
        before, seen = merged.get(name, (0.0, 0.0))
        merged[name] = (before + total, seen + count)
    return merged


def compute(tree: Mapping[str, tuple[Array, Array]]) -> dict[str, float]:
    """Returns the mean of each metric; NaN for one that counted no image."""
    return {
        name: float(total) / float(count) if float(count) else float("nan") for name, (total, count) in tree.items()
    }
