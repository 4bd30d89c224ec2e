"""Fourier transforms of real planes that are zero beyond a corner, each number's real and imaginary part apart.

A fast transform on CPUs; products with matrices elsewhere, which accelerators are fast at, and which every exported
format knows.
"""

import jax
import jax.numpy as jnp
import numpy as np

from faceflax import by_device


def forward(planes: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Returns the transform of `planes` [C, h, w], with zeros to [C, *shape]: float32 [2, C, H, W//2 + 1], W even."""

    def fast(planes: jax.Array) -> jax.Array:
        spectrum = jnp.fft.rfft2(planes, s=shape)
        return jnp.stack([spectrum.real, spectrum.imag])

    def by_products(planes: jax.Array) -> jax.Array:
        rows, columns = np.arange(shape[0]), np.arange(shape[1] // 2 + 1)
        real, imaginary = _at(planes[None], rows, columns, shape)
        return jnp.concatenate([real, imaginary])

    return by_device.choose(planes, cpu=fast, default=by_products)


def inverse(spectrum: jax.Array, shape: tuple[int, int], corner: tuple[int, int]) -> jax.Array:
    """Returns the first `corner` rows and columns of the planes of `shape` that have this `forward` transform."""

    def fast(spectrum: jax.Array) -> jax.Array:
        return jnp.fft.irfft2(jax.lax.complex(*spectrum), s=shape)[:, : corner[0], : corner[1]]

    def by_products(spectrum: jax.Array) -> jax.Array:
        rows = _waves(np.arange(corner[0]), np.arange(shape[0]), shape[0])
        columns = _waves(np.arange(corner[1]), np.arange(shape[1] // 2 + 1), shape[1])
        cos, sin = (_along_rows(wave, spectrum) for wave in rows)  # each of both parts
        real, imaginary = cos[0] - sin[1], sin[0] + cos[1]
        scale = both_halves(shape) / (shape[0] * shape[1])
        cos, sin = (
            jnp.einsum("chk,wk->chw", part, wave * scale, precision="highest")
            for part, wave in zip((real, imaginary), columns, strict=True)
        )
        return cos - sin

    return by_device.choose(spectrum, cpu=fast, default=by_products)


def frequencies(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns those of a transform in cycles a pixel, float32 [H, 1] and [1, W//2 + 1]."""
    rows, columns = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    return rows[:, None].astype(np.float32), columns[None].astype(np.float32)


def both_halves(shape: tuple[int, int]) -> np.ndarray:
    """Returns how often each column of a transform [..., H, W//2 + 1] counts in the whole one, float32 [W//2 + 1]."""
    counts = np.full(shape[1] // 2 + 1, 2.0, np.float32)
    counts[[0, -1]] = 1.0
    return counts


def power(planes: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Returns the power of `planes` [B, C, H, W], seen through a Hann window, at frequencies, [B, C, R, K].

    `rows` [R] and `columns` [K] are vertical and horizontal ones, in cycles over the plane. By products, as these are
    few.
    """
    height, width = planes.shape[2:]
    windowed = planes * _hann(height)[:, None] * _hann(width)
    real, imaginary = _at(windowed, rows, columns, (height, width))
    return jnp.square(real) + jnp.square(imaginary)


def window_power(shape: tuple[int, int]) -> float:
    """Returns by what `power` has multiplied the power of white noise in planes of `shape`."""
    return float(np.square(_hann(shape[0])).sum() * np.square(_hann(shape[1])).sum())


def _hann(size: int) -> np.ndarray:
    return np.hanning(size + 2)[1:-1].astype(np.float32)


def _at(
    planes: jax.Array, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """Both parts of the transform of `planes` [B, C, h, w], with zeros to `shape`, at frequencies: [B, C, R, K]."""
    height, width = planes.shape[2:]
    row_cos, row_sin = _waves(rows, np.arange(height), shape[0])
    column_waves = _waves(columns, np.arange(width), shape[1])
    cos, sin = (jnp.einsum("bchw,kw->bchk", planes, wave, precision="highest") for wave in column_waves)
    real = _along_rows(row_cos, cos) - _along_rows(row_sin, sin)
    return real, -_along_rows(row_sin, cos) - _along_rows(row_cos, sin)


def _waves(frequencies: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines [frequencies, places] of a transform over `size`."""
    angle = 2 * np.pi / size * (np.outer(frequencies, places) % size)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _along_rows(wave: np.ndarray, planes: jax.Array) -> jax.Array:
    return jnp.einsum("rh,bchk->bcrk", wave, planes, precision="highest")
