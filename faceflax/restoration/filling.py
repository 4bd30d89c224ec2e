"""The holes of a photograph's faces: which are filled, and by what the network made of which face."""

from collections.abc import Sequence

import cv2
import numpy as np

from faceflax.preprocessing import alignment, colour
from faceflax.restoration import paste, restorers, subjects
from faceflax.restoration.subjects import Crop, Located, Subject


def holes_left(found: Sequence[Subject], missing: np.ndarray) -> np.ndarray:
    """Returns which of the holes, both bool [H, W], lie in a face that is not restored, and in none that is."""
    left = np.zeros(missing.shape, np.uint8)
    for is_restored in (False, True):
        for subject in found:
            if subject.skipped != subjects.NO_HOLE and (subject.crop is not None) == is_restored:
                cv2.fillConvexPoly(left, _outline(subject.located), 0 if is_restored else 1)
    return missing & (left > 0)


def _outline(located: Located) -> np.ndarray:
    """int32 [N, 1, 2], a convex polygon around a face in its photograph."""
    try:
        place = alignment.align(located.face.points, 1)
        points = place.to_photograph(subjects.hull(located.mesh, place))
    except ValueError:
        left, top, right, bottom = located.face.box
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return cv2.convexHull(np.round(points).astype(np.int32))


def fill(
    pixels: np.ndarray, crops: Sequence[Crop], restored: Sequence[np.ndarray], missing: np.ndarray, times: int
) -> np.ndarray:
    """Puts what the network made of the holes of faces into `pixels`, in place, and nothing else.

    Where the squares of several faces share a hole, each draws its own part of it: the pixels that lie nearer to its
    middle, in parts of its own size, than to another's.

    Args:
      pixels: the photograph, enlarged `times` times, with something smooth in its holes.
      crops: the faces.
      restored: what the network made of each, float32 [S, S, 3], in the light of the crop.
      missing: bool, as `pixels`: the holes.
      times: how much `pixels` were enlarged.

    Returns:
      bool [H, W], the holes that no face reaches.

    Raises:
      ValueError: one of `restored` is not finite.
    """
    owners = _share_out(crops, missing, times)
    beside, known = missing.copy(), ~missing
    for number, (crop, made) in enumerate(zip(crops, restored, strict=True)):
        restorers.check_finite(made)
        own, place = owners == number, paste.enlarged(crop.place, times)
        beside &= paste.paste(pixels, colour.from_srgb(made, crop.profile), crop.mask, place, own, known) == 0
        known |= own
    return beside


def _share_out(crops: Sequence[Crop], missing: np.ndarray, times: int) -> np.ndarray:
    """Int16 [H, W]: the number of the crop whose part of a hole a pixel is, or -1."""
    owners = np.full(missing.shape, -1, np.int16)
    nearest = np.full(missing.shape, np.inf, np.float32)
    for number, crop in enumerate(crops):
        place = paste.enlarged(crop.place, times)
        window = paste.reach(place, crop.mask, missing.shape)
        if window is None:
            continue
        distance = paste.into(window, paste.from_middle(place.size), place, cv2.BORDER_REPLICATE)
        is_nearer = missing[window] & (paste.into(window, crop.mask, place) > 0) & (distance < nearest[window])
        owners[window][is_nearer] = number
        nearest[window][is_nearer] = distance[is_nearer]
    return owners
