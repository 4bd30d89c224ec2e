"""Dark faces are shown to a network in the light that it knows, and what it makes of them is darkened as much again.

A network that learned to light up faces does so wherever it sees a dark one, and adds to their contrast. Light scales a
picture, and its noise with it; so a gain, not a curve, makes a dark face one that was taken in better light. Crops that
are restored whole (`aligned`) have no surroundings to match, and are lit up as the network does it.
"""

import numpy as np

from faceflax.restoration import holes

# Mean luminance of a face, below which it is brightened to that. Of 16 synthetic faces it is 0.34 to 0.66, median
# 0.55; at 0.65 of their light the shipped network lights nearly all of them up.
_LEAST_LIGHT = 0.5
_MOST_GAIN = 16.0  # of a face that is darker still, 8 bits hold next to nothing
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def gain(image: np.ndarray, weight: np.ndarray) -> float:
    """Returns the factor, at least 1, that brings a dark face to the light that networks know.

    Args:
      image: float32 [S, S, 3] in [0, 1].
      weight: float32 [S, S], what of it counts; where nothing does, the factor is 1.
    """
    total = float(weight.sum())
    light = float(np.sum(weight * (image @ _LUMINANCE))) / total if total > 0 else _LEAST_LIGHT
    return float(np.clip(_LEAST_LIGHT / max(light, 1e-6), 1, _MOST_GAIN))


def brighten(image: np.ndarray, missing: np.ndarray, factor: float) -> np.ndarray:
    """Returns `image` [S, S, 3] times `factor`, at most white, and holes, `missing` [S, S, 1] of 1, in their colour."""
    return np.where(missing > 0, np.float32(holes.COLOUR), np.minimum(image * np.float32(factor), 1))


def darken(restored: np.ndarray, image: np.ndarray, missing: np.ndarray, factor: float) -> np.ndarray:
    """Returns what a network made of `brighten(image, missing, factor)` in the light of `image`.

    What became white by the factor keeps how much brighter than that it was; with a factor of 1 `restored` is returned
    as it is, to the bit.
    """
    beyond = (1 - missing) * np.maximum(image - np.float32(1 / factor), 0)
    return restored / np.float32(factor) + beyond
