"""What fills a hole is brought to meet its surroundings, so that no seam shows at the hole's rim."""

import cv2
import numpy as np

_SWEEPS = 4  # of relaxation at each scale
_SOILED = 12 / 255  # step between the two pixels nearest to a hole, from which the nearer one is taken to be soiled
_AROUND = 2  # pixels next to a hole that count
_ALONG = 8.0  # pixels: the Gaussian's sigma over which that step is averaged along the rim


def meet(fill: np.ndarray, around: np.ndarray, hole: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns what fills a hole, brought to its surroundings.

    What the photograph differs by from the fill at the hole's rim, where both are known, goes on into the hole as a
    membrane does that is held there (Perez et al., SIGGRAPH 2003): smoothly, and less with distance. Where the pixels
    that touch the hole took on some of its colour, as JPEG and soft brushes make them, the next ones hold the membrane.

    Args:
      fill: float32 [H, W, C], in [0, 1], also around the hole.
      around: float32 [H, W, C], the photograph.
      hole: bool [H, W], where `fill` shows.
      known: bool [H, W], which pixels of `around` are known, none of them in the hole.

    Returns:
      float32 [H, W, C]; `fill` itself where there is no hole, or no known pixel near it.
    """
    if not hole.any():
        return fill
    rows, columns = (_span(hole.any(axis=axis)) for axis in (1, 0))
    met = fill.copy()
    met[rows, columns] = _meet(*(values[rows, columns] for values in (fill, around, hole, known)))
    return met


def _span(is_there: np.ndarray) -> slice:
    """From the first to the last, and what is needed around them."""
    places = np.flatnonzero(is_there)
    return slice(max(places[0] - _AROUND, 0), places[-1] + 1 + _AROUND)


def _meet(fill: np.ndarray, around: np.ndarray, hole: np.ndarray, known: np.ndarray) -> np.ndarray:
    step = around - fill
    touching = known & _grown(hole)
    next_ones = known & _grown(_grown(hole)) & ~touching
    bias = np.abs(_mean(step, touching, _ALONG) - _mean(step, next_ones, _ALONG)).max(axis=2)
    soiled = touching & (bias > _SOILED)
    held = (touching & ~soiled) | (next_ones & _grown(soiled))
    if not held.any():
        return fill
    held = held[..., None].astype(np.float32)
    return fill + hole[..., None] * membrane(step * held, held)


def _grown(region: np.ndarray) -> np.ndarray:
    return cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _mean(values: np.ndarray, counts: np.ndarray, sigma: float) -> np.ndarray:
    """The mean of the values [H, W, C] that count around each pixel."""
    counts = counts[..., None].astype(np.float32)
    return _blur(values * counts, sigma) / np.maximum(_blur(counts, sigma), 1e-6)


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred.reshape(values.shape)


def membrane(values: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Returns the smoothest float32 [H, W, C] that has `values` where `held`, float32 [H, W, 1], is 1 and not 0.

    It must be 1 somewhere. One of half the size is made first, and relaxed.
    """
    height, width = held.shape[:2]
    if min(height, width) < 2 or held.all():
        return np.where(held > 0, values, values.sum((0, 1)) / held.sum())
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(held, half, interpolation=cv2.INTER_AREA)[..., None]
    coarse = cv2.resize(values * held, half, interpolation=cv2.INTER_AREA).reshape(*half[::-1], -1)
    smooth = membrane(coarse / np.maximum(weight, 1e-6), (weight > 0).astype(np.float32))
    smooth = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    is_held = np.broadcast_to(held > 0, values.shape)
    for _ in range(_SWEEPS):
        np.copyto(smooth, values, where=is_held)
        smooth = cv2.blur(smooth, (3, 3), borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
    np.copyto(smooth, values, where=is_held)
    return smooth
