"""The kinds of blur that can be told from an image: the line of a moving camera, and Gaussians of any shape.

A blur is float32 [3]: its length or standard deviation (pixels), its angle (radians, from the x axis towards the y
axis, which points down) and the smaller deviation as a share of the larger.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

Blurs = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """A kind of blur.

    Attributes:
      transfer: `transfer(blurs, fy, fx)` returns the Fourier transforms, real as these blurs are symmetric, of `blurs`
        [..., 3] at frequencies `fy` [H, 1] and `fx` [1, W] in cycles a pixel: float32 [..., H, W], by the library that
        `blurs` are of.
      candidates: [N, 3], blurs of images of 128 pixels, close enough together to find any from, and first that of none.
      around: [M, 3], what to try about a blur: factors of its size, angles to add, and factors of its share.
      noise: the power of what was added after the blur, the image's range being 1.
      smoothness: the weight of squared differences between neighbours against squared errors.
    """

    transfer: Callable[[Blurs, np.ndarray, np.ndarray], Blurs]
    candidates: np.ndarray
    around: np.ndarray
    noise: float
    smoothness: float


def _line(blurs: Blurs, fy: np.ndarray, fx: np.ndarray) -> Blurs:
    xp = blurs.__array_namespace__()
    length, angle = np.pi * blurs[..., 0, None, None], blurs[..., 1, None, None]
    x, y = length * xp.cos(angle) * fx, length * xp.sin(angle) * fy
    # The sine of a sum by those of its parts, of which there are fewer: `estimate` takes less than half of the time.
    phase, sine = x + y, xp.sin(x) * xp.cos(y) + xp.cos(x) * xp.sin(y)
    is_zero = xp.abs(phase) < 0.01
    sinc = xp.where(is_zero, 1.0, sine / xp.where(is_zero, 1.0, phase))
    pixel = (np.sinc(fx) * np.sinc(fy)).astype(np.float32)  # the line is a pixel wide
    return xp.where(length > 0, sinc * pixel, 1.0)


def _gaussian(blurs: Blurs, fy: np.ndarray, fx: np.ndarray) -> Blurs:
    xp = blurs.__array_namespace__()
    sigma, angle, share = (blurs[..., number, None, None] for number in range(3))
    along = fx * xp.cos(angle) + fy * xp.sin(angle)
    across = fy * xp.cos(angle) - fx * xp.sin(angle)
    return xp.exp(-2 * np.pi**2 * xp.square(sigma) * (xp.square(along) + xp.square(share * across)))


def _spaced(first: float, last: float, factor: float) -> np.ndarray:
    return np.geomspace(first, last, 1 + math.ceil(math.log(last / first, factor)))


def _every(degrees: float) -> np.ndarray:
    return np.deg2rad(np.arange(0, 180, degrees))


def _grid(sizes: np.ndarray | float, angles: np.ndarray | float, shares: tuple[float, ...] = (1.0,)) -> np.ndarray:
    return np.stack(np.meshgrid(sizes, angles, shares, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)


_NONE = _grid(0.0, 0.0)
_SIGMAS = _spaced(0.7, 9, 1.2)

KINDS = {
    "motion": Kind(
        _line,
        candidates=np.concatenate([_NONE, _grid(_spaced(4, 29, 1.15), _every(6))]),
        around=_grid(np.linspace(0.93, 1.07, 5), np.deg2rad(np.linspace(-3, 3, 5))),
        noise=1e-5,  # that of rounding to 8 bits, and some
        smoothness=5e-4,
    ),
    "blur": Kind(
        _gaussian,
        candidates=np.concatenate([_NONE, _grid(_SIGMAS, 0.0), _grid(_SIGMAS, _every(15), (0.3, 0.5, 0.75))]),
        around=_grid(np.linspace(0.92, 1.08, 3), np.deg2rad([-7.5, 0, 7.5]), (0.85, 1.0, 1.15)),
        noise=(2 / 255) ** 2,
        smoothness=6e-3,
    ),
}
"""By the tasks of `faceflax.degradations` that make such blurs."""
