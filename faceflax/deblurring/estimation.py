"""Which blur an image has, told from its spectrum.

Sharp faces have nearly one spectrum, a power of the frequency; a blur multiplies it by its own, whose falls and zeros
are seen through any face. The estimate is the blur of greatest likelihood among many (Whittle's, 1953: the
periodogram's values are independent, and exponential about the expected spectrum), each at the contrast that suits it
best.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.deblurring.kinds import Kind

_LEVEL, _SLOPE = 7.0e-5, -3.19  # of the power of luma in faces of 128 pixels, by frequency in cycles a pixel
_LOWEST, _HIGHEST = 0.03, 0.25  # such frequencies that are looked at: the face itself below, noise above
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def estimate(kind: Kind, image: jax.Array) -> jax.Array:
    """Returns the blur of `kind`, float32 [3], that `image` [H, W, 3] in [0, 1] seems to have."""
    band = _Band.of(image.shape[:2])
    power = _periodogram(band, image @ _LUMA)
    candidates = kind.candidates * np.array([band.unit, 1, 1], np.float32)
    with jax.ensure_compile_time_eval():  # a constant of the program
        expected = _expect(kind, band, candidates)
    blur = jnp.asarray(candidates)[jnp.argmax(expected.likelihood(power))]
    for finer in (1.0, 0.35):
        factors, angles = kind.around[:, ::2] ** finer, kind.around[:, 1] * finer
        near = [blur[0] * factors[:, 0], blur[1] + angles, jnp.clip(blur[2] * factors[:, 1], 0.15, 1.0)]
        blurs = jnp.stack(near, -1)
        blur = blurs[jnp.argmax(_expect(kind, band, blurs).likelihood(power))]
    return blur


class _Band(NamedTuple):
    """The frequencies that tell blurs apart: half a plane, with one more on each side, in cycles over the image."""

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    is_used: np.ndarray  # without those more

    @property
    def unit(self) -> float:
        """The side as a share of 128 pixels, as which blurs grow."""
        return min(self.shape) / 128

    @classmethod
    def of(cls, shape: tuple[int, int]) -> "_Band":
        unit = min(shape) / 128
        last = [min(round(_HIGHEST * size / unit), size // 2 - 1) for size in shape]
        rows, columns = np.arange(-last[0] - 1, last[0] + 2), np.arange(-1, last[1] + 2)
        inner_rows, inner_columns = rows[1:-1, None], columns[None, 1:-1]
        frequency = unit * np.hypot(inner_rows / shape[0], inner_columns / shape[1])
        is_twice = (inner_columns == 0) & (inner_rows < 0)
        return cls(shape, rows, columns, (frequency >= _LOWEST) & (frequency <= _HIGHEST) & ~is_twice)


class _Expected(NamedTuple):
    """Of N blurs: one over the power that is expected at each frequency, [N, h, w], and its logarithm's sum, [N]."""

    inverse: jax.Array
    logarithms: jax.Array
    count: int  # of the frequencies

    def likelihood(self, power: jax.Array) -> jax.Array:
        """Returns logarithms [N] of the likelihoods of `power` [h, w], up to a constant, each at its best contrast."""
        contrast = self.inverse.reshape(len(self.inverse), -1) @ power.reshape(-1)
        return -self.count * jnp.log(contrast) - self.logarithms


def _expect(kind: Kind, band: _Band, blurs: jax.Array) -> _Expected:
    fy, fx = (band.rows / band.shape[0])[:, None], (band.columns / band.shape[1])[None]
    frequency = np.maximum(band.unit * np.hypot(fy, fx), 1 / 64)
    sharp = (band.unit**2 * _LEVEL * frequency**_SLOPE).astype(np.float32)
    power = sharp * jnp.square(kind.transfer(blurs, fy.astype(np.float32), fx.astype(np.float32)))
    for axis in (-2, -1):  # what the window makes of it
        size = power.shape[axis] - 2
        parts = [jax.lax.slice_in_dim(power, start, start + size, axis=axis % 3) for start in range(3)]
        power = (parts[0] + 4 * parts[1] + parts[2]) / 6
    power += kind.noise
    logarithms = jnp.where(band.is_used, jnp.log(power), 0.0).sum((-2, -1))
    return _Expected(jnp.where(band.is_used, 1 / power, 0.0), logarithms, band.is_used.sum())


def _periodogram(band: _Band, luma: jax.Array) -> jax.Array:
    """The power of an image [H, W] at the frequencies of the band, [h, w], through a Hann window.

    By products with matrices: there are few of them.
    """
    windows = [np.hanning(size + 2)[1:-1] for size in band.shape]
    waves = [
        np.exp(-2j * np.pi / size * np.outer(frequencies[1:-1], np.arange(size))) * window / np.linalg.norm(window)
        for size, frequencies, window in zip(band.shape, (band.rows, band.columns), windows, strict=True)
    ]
    (rows_real, rows_imaginary), (real, imaginary) = (
        (wave.real.astype(np.float32), wave.imag.astype(np.float32)) for wave in waves
    )
    level = luma - luma.mean()
    across_real, across_imaginary = level @ real.T, level @ imaginary.T
    power_real = rows_real @ across_real - rows_imaginary @ across_imaginary
    power_imaginary = rows_real @ across_imaginary + rows_imaginary @ across_real
    return jnp.square(power_real) + jnp.square(power_imaginary)
