"""Puts a mask or glasses on the face of a photograph, at the photograph's own size."""

import dataclasses

import cv2
import jax
import numpy as np

from faceflax.degradations import facemask
from faceflax.degradations.facemask import Layer
from faceflax.preprocessing.images import Photograph

WEAR = ("surgical", "glasses", "both")
_CANVAS_SIDES = (64, 128, 256, 512, 1024)  # few, as JAX compiles for each


@dataclasses.dataclass(frozen=True)
class Look:
    """What is worn: one of `WEAR`; of the mask the number of its cloth (None: a random one) and its texture's name."""

    wear: str
    cloth: int | None
    texture: str


def dress(photograph: Photograph, placement: np.ndarray, key: jax.Array, look: Look) -> tuple[Photograph, np.ndarray]:
    """Returns the photograph with what is worn, and bool [H, W] of the pixels that it covers.

    `placement` [2, 3] says where the face is (see `landmarks.whole_image`). On a square aligned image of one of the
    canvas's sides the result is that of the degradation task `facemask` with the same key.
    """
    pixels, covered = photograph.pixels.copy(), np.zeros(photograph.pixels.shape[:2], bool)
    side = _canvas_side(np.hypot(*placement[:, 0]))
    for layer in _layers(key, side, look):
        colour, covers = _warp(layer, placement, covered.shape)
        if pixels.ndim == 2:
            colour = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        pixels[covers] = np.round(colour[covers] * np.iinfo(pixels.dtype).max)
        covered |= covers
    return dataclasses.replace(photograph, pixels=pixels), covered


def _canvas_side(side: float) -> int:
    return next((canvas for canvas in _CANVAS_SIDES if canvas >= round(side)), _CANVAS_SIDES[-1])


def _layers(key: jax.Array, side: int, look: Look) -> list[Layer]:
    """What is drawn, from the lowest layer to the uppermost; keys and order are those of the task `facemask`."""
    cloth_key, glasses_key = jax.random.split(key)
    layers = []
    if look.wear in ("glasses", "both"):
        layers.append(facemask.dark_glasses(glasses_key, side, side))
    if look.wear in ("surgical", "both"):
        layers.append(facemask.surgical_mask(cloth_key, side, side, look.cloth, look.texture))
    return layers


def _warp(layer: Layer, placement: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The layer in a photograph of `shape`: colour float32 [H, W, 3], and bool [H, W] of the pixels that it covers."""
    covers, colour = np.asarray(layer.covers, np.float32), np.asarray(layer.colour)
    # Pixel i has its centre at i + 0.5 in the template's canvas as in the photograph.
    matrix = np.hstack([placement[:, :2] / len(covers), placement[:, 2:]])
    matrix[:, 2] += 0.5 * matrix[:, 0] + 0.5 * matrix[:, 1] - 0.5
    covers, colour = (
        cv2.warpAffine(values, matrix, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=border)
        for values, border in ((covers, cv2.BORDER_CONSTANT), (colour, cv2.BORDER_REPLICATE))
    )
    return np.clip(colour, 0.0, 1.0), covers > 0.5
