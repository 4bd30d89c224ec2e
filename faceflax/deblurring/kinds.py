"""The kinds of blur that can be told from an image: the line of a moving camera, and Gaussians of any shape.

A blur is float32 [3]: its length or standard deviation (pixels), its angle (radians, from the x axis towards the y
axis, which points down) and the smaller deviation as a share of the larger.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Kind(NamedTuple):
    """A kind of blur.

    `transfer(blurs, fy, fx)` returns the Fourier transforms, real as these blurs are symmetric, of `blurs` [..., 3] at
    frequencies `fy` [H, 1] and `fx` [1, W] in cycles a pixel: float32 [..., H, W]. `candidates` [N, 3] are blurs in
    images of 128 pixels that lie close enough together to find the right one from, and `around` [M, 3] are what to try
    about a blur: factors of its size and share, and angles to add. `noise` is the power of what was added after the
    blur, of a range of 1. `smoothness` is the weight of squared differences between neighbours against squared errors.
    """

    transfer: Callable[[jax.Array, np.ndarray, np.ndarray], jax.Array]
    candidates: np.ndarray
    around: np.ndarray
    noise: float
    smoothness: float


def _line(blurs: jax.Array, fy: np.ndarray, fx: np.ndarray) -> jax.Array:
    length, angle = np.pi * blurs[..., 0, None, None], blurs[..., 1, None, None]
    x, y = length * jnp.cos(angle) * fx, length * jnp.sin(angle) * fy
    # The sine of a sum by those of its parts: a thousandth of the sines.
    phase, sine = x + y, jnp.sin(x) * jnp.cos(y) + jnp.cos(x) * jnp.sin(y)
    is_zero = jnp.abs(phase) < 0.01
    sinc = jnp.where(is_zero, 1.0, sine / jnp.where(is_zero, 1.0, phase))
    return sinc * (np.sinc(fx) * np.sinc(fy)).astype(np.float32)  # a line a pixel wide


def _gaussian(blurs: jax.Array, fy: np.ndarray, fx: np.ndarray) -> jax.Array:
    sigma, angle, share = (blurs[..., number, None, None] for number in range(3))
    along = fx * jnp.cos(angle) + fy * jnp.sin(angle)
    across = fy * jnp.cos(angle) - fx * jnp.sin(angle)
    return jnp.exp(-2 * np.pi**2 * jnp.square(sigma) * (jnp.square(along) + jnp.square(share * across)))


def _spaced(first: float, last: float, factor: float) -> np.ndarray:
    return np.geomspace(first, last, 1 + math.ceil(math.log(last / first, factor)))


def _every(degrees: float) -> np.ndarray:
    return np.deg2rad(np.arange(0, 180, degrees))


def _grid(sizes: np.ndarray, angles: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(sizes, angles, shares, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)


KINDS = {
    "motion": Kind(
        _line,
        candidates=_grid(_spaced(7, 28, 1.15), _every(6), (1.0,)),
        around=_grid(np.linspace(0.93, 1.07, 5), np.deg2rad(np.linspace(-3, 3, 5)), (1.0,)),
        noise=1e-5,  # that of rounding to 8 bits, and some
        smoothness=5e-4,
    ),
    "blur": Kind(
        _gaussian,
        candidates=_grid(_spaced(1, 7.5, 1.2), _every(15), (0.3, 0.5, 0.75, 1.0)),
        around=_grid(np.linspace(0.92, 1.08, 3), np.deg2rad([-7.5, 0, 7.5]), (0.85, 1.0, 1.15)),
        noise=(2 / 255) ** 2,
        smoothness=6e-3,
    ),
}
"""By the tasks of `faceflax.degradations` that make such blurs."""
