"""A restored crop goes back into its photograph, so that nobody sees where it begins."""

import cv2
import numpy as np

from faceflax.preprocessing import alignment
from faceflax.preprocessing.alignment import Alignment
from faceflax.restoration import seam

_FEATHER = 0.1  # of the crop's side: how far from its border the blend takes to reach 1
_COLOUR_SIGMA = 0.1  # of the crop's side: what changes more slowly than this is colour and light
_FINEST = 1.0  # pixels of the crop: the detail between a Gaussian of that sigma and none is the finest
# Sigmas in pixels of the crop, between which lies the detail that a network leaves alone where it finds no damage.
_BAND = (1.0, 4.0)
# Of 48 clean synthetic faces the shipped network changes 0.071 to 0.123 of that detail's amplitude, median 0.093; with
# noise of 10 on them 0.100 to 0.201, median 0.146, and of JPEG's quality 30 0.096 to 0.211, median 0.155.
_UNDAMAGED, _DAMAGED = 0.11, 0.15
# The same of the finest detail's power. Of these clean faces, in colour and grey, it changes 0.25 at most, median 0.20
# and 0.17; with noise of 10 0.39 to 0.76; with grey noise of 17 on grey faces 0.52 to 0.84.
_UNDAMAGED_FINEST, _DAMAGED_FINEST = 0.27, 0.38
# The outline of a face that is framed as FFHQ's, where its mesh is not known: an ellipse, in parts of the crop's side.
_MIDDLE, _RADII = np.array((0.5, 0.55)), np.array((0.37, 0.42))
_MIDDLE_OF_PIXEL = 0.5


def outline(count: int = 64) -> np.ndarray:
    """Returns the outline of a face in the FFHQ framing, [count, 2], in parts of the crop's side."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return _MIDDLE + _RADII * np.column_stack([np.cos(angles), np.sin(angles)])


def soft_mask(hull: np.ndarray, size: int) -> np.ndarray:
    """Returns how much of a restored crop shows, float32 [size, size]: 0 outside the face, rising smoothly to 1.

    Args:
      hull: points [N, 2] around the face in the crop, in pixels from its corner; their convex hull counts.
      size: side of the crop.
    """
    inside = np.zeros((size + 2, size + 2), np.uint8)  # outside the crop nothing shows
    corners = np.round((np.asarray(hull, np.float64) - _MIDDLE_OF_PIXEL + 1) * 256).astype(np.int32)
    cv2.fillConvexPoly(inside, cv2.convexHull(corners), 1, shift=8)
    inside[[0, -1]] = inside[:, [0, -1]] = 0
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    share = np.clip(depth / (_FEATHER * size), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def from_middle(size: int) -> np.ndarray:
    """Returns how far a crop's pixels lie from the face's middle, float32 [size, size]: 1 on its `outline`."""
    across, down = ((np.arange(size) + 0.5)[:, None] / size - _MIDDLE).T / _RADII[:, None]
    return np.hypot(across[None], down[:, None]).astype(np.float32)


def square(size: int) -> np.ndarray:
    """As `soft_mask`, of all of a crop: 1 but for its border, where it falls to 0."""
    return soft_mask(size * np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64), size)


def match_colour(restored: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Gives a restored crop the colour and light that the photograph has there.

    What changes slowly over the face is taken from the photograph, all else from the network, so that no step in colour
    or brightness remains at the border. Noise does not count as it averages out.

    Args:
      restored: float32 [S, S, 3].
      crop: float32 [S, S, 3], what was restored.

    Returns:
      float32 [S, S, 3], not clipped.
    """
    return restored + _blur(crop - restored, _COLOUR_SIGMA * len(crop))


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def spared(restored: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> float:
    """Returns the share of a network's change that a face does not need, from 0 to 1, as there is hardly any damage.

    Every network loses some of the finest detail. Whether it found damage shows in the detail between 1 and 4 pixels,
    of which it changes an undamaged face's by about a tenth, and in the finest, of whose power that is about a fifth.
    The share is the lesser of two: 1 up to 0.11 of the former's amplitude and 0 from 0.15 on; 1 up to 0.27 of the
    latter's power and 0 from 0.38 on.

    Args:
      restored: float32 [S, S, 3].
      crop: float32 [S, S, 3], what was restored.
      mask: float32 [S, S], what of it counts.
    """
    finest, band = (
        np.sum(mask[..., None] * changed**2) / max(np.sum(mask[..., None] * whole**2), 1e-6)
        for changed, whole in zip(_fine_details(restored - crop), _fine_details(crop), strict=True)
    )
    by_band = (_DAMAGED - np.sqrt(band)) / (_DAMAGED - _UNDAMAGED)
    by_finest = (_DAMAGED_FINEST - finest) / (_DAMAGED_FINEST - _UNDAMAGED_FINEST)
    return float(np.clip(min(by_band, by_finest), 0, 1))


def _fine_details(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The finest detail, and that within `_BAND`."""
    low, high = (_blur(values, sigma) for sigma in _BAND)
    return values - low, low - high


def kept_detail(restored: np.ndarray, crop: np.ndarray, mask: np.ndarray, step: float) -> float:
    """Returns the share of the detail that is finer than a crop's pixels which is the face's own, from 0 to 1.

    The network is not shown that detail, only what it does to the finest that it is shown: it leaves the part
    g = S / (S + N) that it takes for signal, as a Wiener filter does. Noise has the same power at all frequencies while
    that of pictures falls by their square (Field, JOSA A 1987), hence S / (`step`^2 N + S) for what is finer.

    Args:
      restored: float32 [S, S, 3].
      crop: float32 [S, S, 3], what was restored.
      mask: float32 [S, S], what of it counts.
      step: side of a crop's pixel in the photograph's.
    """
    before, after = (values - _blur(values, _FINEST) for values in (crop, restored))
    power = np.sum(mask[..., None] * before**2)
    left = np.clip(np.sum(mask[..., None] * before * after) / max(power, 1e-6), 0, 1)
    return float(left / (left + step**2 * (1 - left))) if step > 1 else 0.0


def paste(
    pixels: np.ndarray,
    restored: np.ndarray,
    mask: np.ndarray,
    place: Alignment,
    allowed: np.ndarray | None = None,
    known: np.ndarray | None = None,
    kept: float = 0.0,
) -> np.ndarray:
    """Blends a restored crop into `pixels`, in place.

    Args:
      pixels: uint8 or uint16, [H, W] if grey, else [H, W, 3].
      restored: float32 [S, S, 3] in [0, 1].
      mask: float32 [S, S], how much of it shows.
      place: where the crop lies in `pixels`.
      allowed: bool [H, W], the pixels that may change; None: all.
      known: bool [H, W], those of the others to which `seam.meet` brings them; None: all of the others.
      kept: share of `pixels` that is added to `restored`, which then is without it.

    Returns:
      float32 [H, W], how much of it shows where; a pixel of 0 was not touched.
    """
    weight = np.zeros(pixels.shape[:2], np.float32)
    window = reach(place, mask, weight.shape)
    if window is None:
        return weight
    colour = into(window, np.ascontiguousarray(restored, np.float32), place, cv2.BORDER_REPLICATE)
    share = np.clip(into(window, mask, place), 0, 1)
    if allowed is not None:
        share *= allowed[window]
        around = np.atleast_3d(pixels[window]).astype(np.float32) / np.iinfo(pixels.dtype).max
        colour = seam.meet(colour, around, share > 0, ~allowed[window] if known is None else known[window])
    weight[window] = share
    _blend(pixels[window], colour, share, kept)
    return weight


def _blend(pixels: np.ndarray, colour: np.ndarray, share: np.ndarray, kept: float) -> None:
    """Moves `pixels` [H, W(, 3)] by `share` [H, W] towards `colour` [H, W, 3] and their own share `kept`, in place."""
    if pixels.ndim == 2:
        colour = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    else:
        share = share[..., None]
    most = np.iinfo(pixels.dtype).max
    old = pixels.astype(np.float32)
    pixels[:] = np.round(old + share * (np.clip(colour * most + kept * old, 0, most) - old))


def into(
    window: tuple[slice, slice], values: np.ndarray, place: Alignment, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Returns what `values` of a crop, float32 [S, S] or [S, S, C], are in the rows and columns of its photograph."""
    rows, columns = window
    matrix = place.inverse.copy()
    matrix[:, 2] -= columns.start, rows.start
    return alignment.warp(values, matrix, (rows.stop - rows.start, columns.stop - columns.start), border)


def reach(place: Alignment, mask: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Returns the rows and columns of an image of `shape` that the mask's non-zero part can reach, or None."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    (top, bottom), (left, right) = ((values.min() - 1, values.max() + 2) for values in (rows, columns))
    corners = place.to_photograph(np.array([(left, top), (right, top), (left, bottom), (right, bottom)], np.float64))
    first = np.maximum(np.floor(corners.min(axis=0)) - 2, 0).astype(int)
    last = np.minimum(np.ceil(corners.max(axis=0)) + 2, shape[::-1]).astype(int)
    if (last <= first).any():
        return None
    return slice(first[1], last[1]), slice(first[0], last[0])


def enlarge(pixels: np.ndarray, times: int) -> np.ndarray:
    """Returns `pixels` [H, W(, C)] enlarged smoothly `times` times."""
    return cv2.resize(pixels, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC) if times > 1 else pixels


def enlarged(place: Alignment, times: int) -> Alignment:
    """Returns where the crop lies in the photograph enlarged `times` times."""
    return Alignment(place.size, place.matrix @ np.diag([1 / times, 1 / times, 1.0]))
