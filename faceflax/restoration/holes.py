"""Holes in a photograph: how networks are shown them, and what fills them where no network does."""

from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.restoration import seam

COLOUR = 0.5  # that of `degradations.occlusion`, which needs jax, as what restores with ONNX must not
LEAST_KNOWN = 0.1  # share of a face's pixels; of less, with not even a mouth in it, networks make a blot

_MOST_PIXELS = 2**20  # that are filled at once; of a larger picture, one of that size shows how its holes begin
_TILE, _MARGIN = 512, 32  # pixels; a tile is brought to what lies as far around it
_LEAST_SHARE = 0.25  # of a shrunk pixel that is known, from which 8 bits tell its colour


def check_seen(source: Path, alpha: np.ndarray | None, missing: np.ndarray) -> None:
    """Raises `UserError` where most of the holes, bool [H, W], are transparent: alpha stays, so no fill would show."""
    if alpha is not None and missing.any() and (alpha[missing] == 0).mean() > 0.5:
        raise UserError(
            f"{source}: its holes are transparent, and would stay so whatever fills them; save it without transparency "
            "and pass the same --mask"
        )


def fill(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Returns a photograph whose holes go on smoothly from their rims; known pixels stay, and all where none is known.

    The time grows with the tiles of 512 pixels in which something is to be filled, be it a speck.

    Args:
      pixels: uint8 or uint16, [H, W] if grey, else [H, W, 3].
      missing: bool [H, W], the holes.
    """
    if missing.all() or not missing.any():
        return pixels.copy()
    shrink = np.sqrt(_MOST_PIXELS / missing.size)
    if shrink >= 1:
        held = (~missing)[..., None].astype(np.float32)
        guess = seam.membrane(_floats(pixels) * held, held)
        return _met(pixels, guess, missing)
    shape = [max(1, int(side * shrink)) for side in missing.shape]
    return _fill_tiles(pixels, _enlarged(_fill_shrunk(pixels, missing, shape), missing.shape), missing)


def _fill_shrunk(pixels: np.ndarray, missing: np.ndarray, shape: list[int]) -> np.ndarray:
    """The photograph at `shape`, without a hole: each pixel the mean of what is known of it."""
    most = np.iinfo(pixels.dtype).max
    known = np.where(missing, 0, most).astype(pixels.dtype)
    share, sums = (
        cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / most
        for values in (known, np.where(_as(missing, pixels), 0, pixels))
    )
    is_missing = share < min(_LEAST_SHARE, share.max())
    means = np.clip(sums / np.maximum(_as(share, pixels), 1e-6), 0, 1)
    return fill(np.round(means * most).astype(pixels.dtype), is_missing)


def _enlarged(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _fill_tiles(pixels: np.ndarray, guess: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`pixels` with `guess` in the holes, brought to their rims, a tile after the other."""
    filled = pixels.copy()
    for top in range(0, len(missing), _TILE):
        for left in range(0, missing.shape[1], _TILE):
            tile = np.s_[top : top + _TILE, left : left + _TILE]
            if not missing[tile].any():
                continue
            first = max(0, top - _MARGIN), max(0, left - _MARGIN)
            window = np.s_[first[0] : top + _TILE + _MARGIN, first[1] : left + _TILE + _MARGIN]
            met = _met(pixels[window], _floats(guess[window]), missing[window])
            filled[tile] = met[top - first[0] :, left - first[1] :][:_TILE, :_TILE]
    return filled


def _met(pixels: np.ndarray, guess: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`pixels` with `guess`, float32 [H, W, C] in [0, 1], in the holes, brought to their rims."""
    most = np.iinfo(pixels.dtype).max
    met = seam.meet(guess, _floats(pixels), missing, ~missing)
    met = np.round(most * np.clip(met, 0, 1)).astype(pixels.dtype).reshape(pixels.shape)
    return np.where(_as(missing, pixels), met, pixels)


def _floats(pixels: np.ndarray) -> np.ndarray:
    """float32 [H, W, C] in [0, 1]."""
    return np.atleast_3d(pixels).astype(np.float32) / np.iinfo(pixels.dtype).max


def _as(values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Values [H, W] with as many dimensions as `pixels`."""
    return values if pixels.ndim == 2 else values[..., None]
