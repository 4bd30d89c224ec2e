"""Which blur an image has, told from its spectrum.

Sharp faces have nearly one spectrum, a power of the frequency; a blur multiplies it by its own, whose falls and zeros
are seen through any face. The estimate is the blur of greatest likelihood among many (Whittle's, 1953: the
periodogram's values are independent, and exponential about the expected spectrum), each at the contrast that suits it
best.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.deblurring import fourier
from faceflax.deblurring.kinds import Kind

_LEVEL, _SLOPE = 7.0e-5, -3.19  # of the power of luma in faces of 128 pixels, by frequency in cycles a pixel
_LOWEST, _HIGHEST = 0.03, 0.25  # such frequencies that are looked at: the face itself below, noise above
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def estimate(kind: Kind, image: jax.Array) -> jax.Array:
    """Returns the blur of `kind`, float32 [3], that `image` [H, W, 3] in [0, 1] seems to have; its size is 0 for none.

    The angle may be a little outside of 0 to pi.
    """
    band = _Band.of(image.shape[:2])
    luma = jnp.einsum("hwc,c->hw", image.astype(jnp.float32), _LUMA)
    power = fourier.power((luma - luma.mean())[None, None], band.rows[1:-1], band.columns[1:-1])[0, 0][band.is_used]
    power /= fourier.window_power(band.shape)
    candidates, expected = _candidates(kind, band.shape)
    blur = jnp.asarray(candidates)[jnp.argmax(expected.likelihood(power))]
    for finer in (1.0, 0.35):
        factors, angles = kind.around[:, ::2] ** finer, kind.around[:, 1] * finer
        near = [blur[0] * factors[:, 0], blur[1] + angles, jax.lax.clamp(0.15, blur[2] * factors[:, 1], 1.0)]
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
    """Of N blurs: one over the power that is expected at each frequency, [N, F], and its logarithm's sum, [N]."""

    inverse: jax.Array | np.ndarray
    logarithms: jax.Array | np.ndarray

    def likelihood(self, power: jax.Array) -> jax.Array:
        """Returns logarithms [N] of the likelihoods of `power` [F], up to a constant, each at its best contrast."""
        contrast = jnp.einsum("nf,f->n", self.inverse, power, precision="highest")
        return -power.size * jnp.log(contrast) - self.logarithms


@functools.lru_cache(maxsize=8)
def _candidates(kind: Kind, shape: tuple[int, int]) -> tuple[np.ndarray, _Expected]:
    """The candidates in images of `shape`, and what they make expected: constants of a program, so made by numpy."""
    band = _Band.of(shape)
    candidates = kind.candidates * np.array([band.unit, 1, 1], np.float32)
    return candidates, _expect(kind, band, candidates)


def _expect(kind: Kind, band: _Band, blurs: jax.Array | np.ndarray) -> _Expected:
    xp = blurs.__array_namespace__()
    fy, fx = (band.rows / band.shape[0])[:, None], (band.columns / band.shape[1])[None]
    frequency = np.maximum(band.unit * np.hypot(fy, fx), 1 / 64)
    sharp = (band.unit**2 * _LEVEL * frequency**_SLOPE).astype(np.float32)
    power = sharp * xp.square(kind.transfer(blurs, fy.astype(np.float32), fx.astype(np.float32)))
    power = (power[:, :-2] + 4 * power[:, 1:-1] + power[:, 2:]) / 6  # what a Hann window makes of it
    power = (power[..., :-2] + 4 * power[..., 1:-1] + power[..., 2:]) / 6
    power = power[:, band.is_used] + kind.noise
    return _Expected(1 / power, xp.log(power).sum(-1))
