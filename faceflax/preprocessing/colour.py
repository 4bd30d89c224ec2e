"""Colours between a photograph's own profile (ICC) and sRGB, which is what networks were trained on."""

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

_STEPS = np.arange(0, 256, 17, dtype=np.uint8)
_LEAST_DIFFERENCE = 1  # of 255: a profile that is no further from sRGB is a way to write down sRGB

Convert = Callable[[np.ndarray], np.ndarray]
"""RGB [H, W, 3], uint8 or float32 in [0, 1] -> the same, in other coordinates."""


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Returns RGB [H, W, 3], uint8 or float32 in [0, 1], whose values mean what `profile` says, in sRGB.

    The very pixels where the profile is empty, sRGB or damaged; else to 8 bits, and float32 is clipped. Of a profile of
    grey the first channel counts.
    """
    known = _converters(profile)
    return known[0](pixels) if known else pixels


def from_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """The way back of `to_srgb`; a colour that the profile does not know becomes its nearest."""
    known = _converters(profile)
    return known[1](pixels) if known else pixels


def put_back(restored: np.ndarray, seen: np.ndarray, own: np.ndarray, profile: bytes) -> np.ndarray:
    """Returns what a network made in sRGB of a picture, with the values that `profile` has for it.

    What it did not change comes out as it went in, also colours that sRGB lacks and depth beyond 8 bits.

    Args:
      restored: what it made, float32 [H, W, 3], as the others and the result.
      seen: what it was shown, `to_srgb(own, profile)`.
      own: the picture.
      profile: of the picture.
    """
    if is_srgb(profile):
        return restored
    return own + from_srgb(restored, profile) - from_srgb(seen, profile)


def is_grey(profile: bytes) -> bool:
    """Whether the profile is one of grey pictures."""
    return profile[16:20] == b"GRAY"


def is_srgb(profile: bytes) -> bool:
    """Whether `to_srgb` leaves pixels as they are."""
    return _converters(profile) is None


@functools.lru_cache(8)
def _converters(profile: bytes) -> tuple[Convert, Convert] | None:
    """To sRGB and back; None where nothing is to be done."""
    mode = {b"RGB ": "RGB", b"GRAY": "L"}.get(profile[16:20])
    if mode is None:
        return None
    srgb = ImageCms.createProfile("sRGB")
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        there = ImageCms.buildTransform(own, srgb, mode, "RGB")
        back = ImageCms.buildTransform(srgb, own, "RGB", mode)
    except (ImageCms.PyCMSError, OSError):
        return None
    converters = _converter(there, mode), _converter(back, "RGB")
    known = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(len(_STEPS), -1, 3)
    known = known if mode == "RGB" else np.repeat(known[..., :1], 3, axis=2)
    difference = np.abs(converters[0](known).astype(int) - known).max()
    return converters if difference > _LEAST_DIFFERENCE else None


def _converter(transform: ImageCms.ImageCmsTransform, mode: str) -> Convert:
    def convert(pixels: np.ndarray) -> np.ndarray:
        if pixels.dtype != np.uint8:
            return convert(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)).astype(np.float32) / 255
        image = Image.fromarray(np.ascontiguousarray(pixels if mode == "RGB" else pixels[..., 0]))
        return np.asarray(ImageCms.applyTransform(image, transform).convert("RGB"))

    return convert
