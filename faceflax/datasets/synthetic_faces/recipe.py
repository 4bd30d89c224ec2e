"""What makes face number i of a seed, up to the network: its random numbers before, its pixels after."""

from typing import Protocol

import numpy as np

SIDE = 1024  # pixels of the network's images
PSI = (0.55, 0.95)  # truncation is drawn uniformly: nearer to 0 lies the mean face, beyond 1 artefacts


class FaceGenerator(Protocol):
    """Makes faces; both functions return uint8 [size, size, 3] RGB, a function of the arguments alone."""

    def face(self, seed: int, number: int, size: int) -> np.ndarray:
        """Returns face `number` of `seed`; `size` is at most 1024."""

    def picture(self, seed: int, person: int, number: int, size: int) -> np.ndarray:
        """Returns picture `number` of a person of `seed`; `size` is at most 1024."""


def draw(seed: int, number: int) -> tuple[np.ndarray, float]:
    """Returns (z, float32 [1, 512]; truncation psi) of face `number`."""
    rng = np.random.default_rng([seed, number])
    return rng.standard_normal((1, 512)).astype(np.float32), rng.uniform(*PSI)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Returns the network's image in [-1, 1] as uint8."""
    return _round(image * 127.5 + 127.5)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Returns `image`, uint8 [S, S, 3], at `size` <= S by an antialiased Lanczos-3 filter, as Pillow does it.

    Columns first, then rows, and 8 bits between the two: so a pixel differs from Pillow's by 1 at most.
    """
    if size == image.shape[0]:
        return image
    weights = _lanczos(image.shape[0], size)
    columns = _round(np.einsum("ox,yxc->yoc", weights, image.astype(np.float32), optimize=True))
    return _round(np.einsum("oy,yxc->oxc", weights, columns.astype(np.float32), optimize=True))


def _round(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _lanczos(length: int, size: int) -> np.ndarray:
    """Returns [size, length] whose rows weigh the input's samples; the filter is stretched by length / size."""
    scale = length / size
    centres = (np.arange(size)[:, None] + 0.5) * scale
    x = (np.arange(length)[None, :] + 0.5 - centres) / scale
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
