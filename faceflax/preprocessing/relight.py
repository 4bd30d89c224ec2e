"""Light on a face: exposure, side light, contrast and colour cast, each changed only where it is out of the usual.

The ranges are such that most photographs in good light stay as they are: `docs/preprocessing.md` tells how many. Every
curve rises and none exceeds white, so that no highlight is clipped.
"""

import cv2
import numpy as np

MEDIAN = (0.35, 0.75)
"""Luminance of the face; the median of a brighter one is brought to the edge, and no further."""
DARK = 0.25
"""A median of less is brought to `TARGET`; towards the edge ever less is done, as dark skin in good light is there."""
TARGET = 0.5
SLOPE = 1.5
"""Of the logarithm of the luminance across FFHQ's square; a steeper one is side light, and is brought to `EVEN`."""
EVEN = 0.3
SPREAD = 0.25
"""Between the darkest and brightest twentieth of the face; below, levels are spread and CLAHE adds to it."""
CAST = {"red": (0.15, 0.52), "blue": (-0.3, 0.06)}
"""Logarithms of the face's red and blue over green; outside is a cast, and is brought into `PLAIN`."""
PLAIN = {"red": (0.28, 0.4), "blue": (-0.16, -0.05)}

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_TOP_PERCENT, _SHOULDER = 99.5, 0.8  # values up to that percentile of a dark face are scaled, to that part of white
_GAMMA = (1 / 6, 2.0)  # beyond 2 a face that is clipped comes out less like itself
_MOST_GAIN = 4.0
_CLIP_LIMIT, _TILES = 2.0, (4, 4)
_OFFSET = 0.02  # keeps the logarithm of black finite
_LEAST_CHROMA = 0.01  # deviation of log(red / green); below, the picture is grey or toned and has no cast


def oval(size: int, template: np.ndarray) -> np.ndarray:
    """Bool [size, size]: the inner face in a crop that is aligned to `template` [5, 2], in parts of the side."""
    eyes, mouth = template[:2].mean(axis=0), template[3:].mean(axis=0)
    reach = 2 * np.linalg.norm(template[1] - template[0])
    place = (np.arange(size) + 0.5) / size
    middle = eyes + 0.45 * (mouth - eyes)
    across, down = (place[None] - middle[0]) / (0.47 * reach), (place[:, None] - middle[1]) / (0.62 * reach)
    return across**2 + down**2 < 1


def is_dark(pixels: np.ndarray, face: np.ndarray) -> bool:
    """Whether the face, bool [H, W], in uint8 RGB [H, W, 3] is darker than the usual."""
    return bool(np.median(pixels[face] @ _LUMINANCE) < 255 * MEDIAN[0])


def brighten(pixels: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns uint8 RGB [H, W, 3], scaled until a face that is dark nearly reaches white, and the factor.

    Light and noise keep their proportion in it, so that noise can be told and removed before a curve bends it. What is
    brighter than the face, such as a lamp, bends towards white.
    """
    if not is_dark(pixels, face):
        return pixels, 1.0
    image = pixels.astype(np.float32) / 255
    top = max(float(np.percentile(image[face], _TOP_PERCENT)), 1 / 255)
    if top >= _SHOULDER:
        return pixels, 1.0
    gain = _SHOULDER / top
    above = np.maximum(image - top, 0) / (1 - top)
    bent = _SHOULDER + (1 - _SHOULDER) * _amplify(above, np.float32(gain * (1 - top) / (1 - _SHOULDER)))
    return np.round(255 * np.where(image <= top, gain * image, bent)).astype(np.uint8), round(gain, 3)


def relight(pixels: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Returns uint8 RGB [H, W, 3] in better light, and what was done to it.

    Args:
      pixels: a crop, uint8 RGB.
      face: bool [H, W], where to look; the whole crop is changed.

    What was done: `gamma` (1: nothing), `slope` (taken from the logarithm of the luminance, 0: nothing), `contrast` (1
    if levels were spread and CLAHE ran, Zuiderveld 1994, else 0), `red` and `blue` (gains, 1: nothing).
    """
    image = pixels.astype(np.float32) / 255
    image, gamma = _expose(image, face)
    image, slope = _even_out(image, face)
    image, contrast = _stretch(image, face)
    image, gains = _remove_cast(image, face)
    done = {"gamma": gamma, "slope": slope, "contrast": contrast, **gains}
    if done == {"gamma": 1.0, "slope": 0.0, "contrast": 0.0, "red": 1.0, "blue": 1.0}:
        return pixels, done
    return np.round(255 * image).astype(np.uint8), {name: round(float(value), 3) for name, value in done.items()}


def _expose(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    luminance = image @ _LUMINANCE
    median = float(np.clip(np.median(luminance[face]), 0.002, 0.998))
    if MEDIAN[0] <= median <= MEDIAN[1]:
        return image, 1.0
    goal = np.interp(median, (DARK, *MEDIAN), (TARGET, *MEDIAN))
    gamma = float(np.clip(np.log(goal) / np.log(median), *_GAMMA))
    if gamma < 1:
        return image**gamma, gamma
    # Half on each channel, which alone makes colours too strong, half on the luminance, which alone makes them pale.
    return image * (image * luminance[..., None]) ** ((gamma - 1) / 2), gamma


def _even_out(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    """Takes a slope from left to right out of the logarithm of the luminance, fitted by least squares on the face."""
    rows, columns = np.nonzero(face)
    side = face.shape[1]
    known = np.column_stack([columns / side, rows / side, np.ones(len(rows))])
    logs = np.log((image @ _LUMINANCE)[face] + _OFFSET)
    slope = float(np.linalg.lstsq(known, logs, rcond=None)[0][0])
    if abs(slope) <= SLOPE:
        return image, 0.0
    surplus = slope - np.sign(slope) * EVEN
    logs_of_gain = -surplus * ((np.arange(side) + 0.5) / side - columns.mean() / side)
    gain = np.clip(np.exp(logs_of_gain), 1 / _MOST_GAIN, _MOST_GAIN)[None, :, None]
    return _amplify(image, gain.astype(np.float32)), surplus


def _stretch(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, float]:
    dark, bright = np.percentile((image @ _LUMINANCE)[face], (5, 95))
    if bright - dark >= SPREAD:
        return image, 0.0
    lowest, highest = np.percentile(image, 0.1), image.max()
    image = np.maximum(image - lowest, 0) / max(highest - lowest, SPREAD)
    luminance = image @ _LUMINANCE
    levels = np.round(65535 * luminance).astype(np.uint16)
    stretched = cv2.createCLAHE(_CLIP_LIMIT, _TILES).apply(levels).astype(np.float32) / 65535
    gain = (stretched + _OFFSET) / (luminance + _OFFSET)
    return _amplify(image, np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN)[..., None]), 1.0


def _remove_cast(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Scales red and blue (von Kries), no channel above what it was; then brings the luminance back."""
    red, green, blue = (image[face] + _OFFSET).T
    casts = {"red": np.log(red.mean() / green.mean()), "blue": np.log(blue.mean() / green.mean())}
    gains = {"red": 1.0, "blue": 1.0}
    if np.std(np.log(red / green)) < _LEAST_CHROMA:
        return image, gains
    for name, cast in casts.items():
        if not CAST[name][0] <= cast <= CAST[name][1]:
            gains[name] = float(np.exp(np.clip(cast, *PLAIN[name]) - cast))
    if gains == {"red": 1.0, "blue": 1.0}:
        return image, gains
    by_channel = np.array([gains["red"], 1.0, gains["blue"]], np.float32)
    before = np.median((image @ _LUMINANCE)[face])
    image = image * (by_channel / by_channel.max())
    return _amplify(image, np.float32(before / max(np.median((image @ _LUMINANCE)[face]), _OFFSET))), gains


def _amplify(image: np.ndarray, gain: np.ndarray | np.float32) -> np.ndarray:
    """Multiplies the dark by `gain` and bends towards white: x g / (1 + x (g - 1))."""
    return image * gain / (1 + image * (gain - 1))
