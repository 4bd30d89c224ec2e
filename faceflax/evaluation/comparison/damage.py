"""Damage for a comparison, made with OpenCV, Pillow, SciPy and numpy: none of `faceflax.degradations`' code.

A restorer that only knows its own simulator's resampling, borders, kernels or cloth would do worse here. What
happens to face i is a function of the task and i alone, so every method meets the same pixels. Lengths are given at
128 pixels and scale with the image's side. Beyond a face's border lies what is at the border, which no method is told.
"""

import dataclasses
import io
import zlib
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from faceflax.degradations import Task
from faceflax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Known:
    """What was done to a face, for the methods that are told; None where the task has no such thing.

    Attributes:
      sigma: standard deviation of the white noise, of 255.
      kernel: the blur, float64 [k, k], k odd, sums to 1.
      length: of the motion, pixels.
      quality: of the JPEG.
      light: (exposure, gamma) of exposure * image ** gamma.
      small: the face as it was shrunk, uint8 [s, s, 3].
    """

    sigma: float | None = None
    kernel: np.ndarray | None = None
    length: float | None = None
    quality: int | None = None
    light: tuple[float, float] | None = None
    small: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A damaged face uint8 [S, S, 3], where its pixels are missing (1) uint8 [S, S], and what is known of it."""

    image: np.ndarray
    mask: np.ndarray
    known: Known


TASKS = (
    *(Task("sr", 4), Task("sr", 8)),
    *(Task("noise", 25), Task("noise", 50)),
    Task("blur", 3),
    Task("motion", 15),
    Task("jpeg", 10),
    Task("lowlight", 2),
    *(Task("box", 10), Task("box", 25), Task("box", 50)),
    Task("mask", 1),
    Task("blind", 2),
)
"""What a comparison can be made on, in the order of its tables."""

MEANING = {
    "sr": "shrunk to 1/{0:g} and enlarged again, both bicubic (Pillow)",
    "noise": "white Gaussian noise of standard deviation {0:g}/255 (numpy)",
    "blur": "Gaussian blur of sigma {0:g} pixels at 128 (SciPy), then noise of 2/255",
    "motion": "a straight line of {0:g} pixels at 128 at any angle (OpenCV), no noise",
    "jpeg": "JPEG of quality {0:g}, 4:2:0 (Pillow)",
    "lowlight": "0.3 times the image to the power of 2.5, then noise of 5/255",
    "box": "a grey box over {0:g} % of the area, about the face, the place known",
    "mask": "a drawn surgical mask, the place known",
    "blind": "blur of sigma U(0.5, 6) at 128, shrunk by U(1, 6), noise U(0, 15)/255, JPEG U(50, 95), enlarged again",
}
"""What each task of `TASKS` does, with its severity for "{0:g}"."""


def parse(specs: Sequence[str]) -> tuple[Task, ...]:
    """Returns the tasks of `TASKS` that `specs` name ("noise 50", "box": all of that name), each once, in their order.

    Raises `UserError` for a name that is none, or when there are none.
    """
    wanted = {name for name in specs if not any(name in (str(task), task.name) for task in TASKS)}
    if wanted or not specs:
        raise UserError(
            f"config.tasks: {', '.join(sorted(map(repr, wanted))) or 'nothing'} is no task of a comparison; "
            f"choose among {', '.join(map(str, TASKS))}"
        )
    return tuple(task for task in TASKS if str(task) in specs or task.name in specs)


def apply(image: np.ndarray, task: Task, index: int) -> Damaged:
    """Returns face number `index`, uint8 RGB [S, S, 3], under one of `TASKS`."""
    rng = np.random.default_rng([zlib.crc32(str(task).encode()), index])
    return _DAMAGES[task.name](image, task.severity, rng)


def _unit(image: np.ndarray) -> float:
    return len(image) / 128


def _whole(image: np.ndarray, **known: object) -> Damaged:
    image = to_uint8(image)
    return Damaged(image, np.zeros(image.shape[:2], np.uint8), Known(**known))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns an image in 0 to 255 rounded to 8 bits; what lies outside is clipped."""
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def resize(image: np.ndarray, side: int, method: Image.Resampling) -> np.ndarray:
    """Returns a uint8 RGB image stretched to a square of `side` by Pillow, with antialiasing where it shrinks."""
    return np.asarray(Image.fromarray(image).resize((side, side), method))


def _noisy(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0.0, sigma, image.shape)


def _shrink(image: np.ndarray, factor: float, rng: np.random.Generator) -> Damaged:
    small = resize(image, round(len(image) / factor), Image.Resampling.BICUBIC)
    return _whole(resize(small, len(image), Image.Resampling.BICUBIC), small=small)


def _noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> Damaged:
    return _whole(_noisy(image, sigma, rng), sigma=sigma)


def _blur(image: np.ndarray, sigma: float, rng: np.random.Generator) -> Damaged:
    sigma *= _unit(image)
    blurred = ndimage.gaussian_filter(image.astype(np.float64), sigma, axes=(0, 1), mode="nearest", truncate=4)
    impulse = np.zeros((2 * int(4 * sigma + 0.5) + 1,) * 2)
    impulse[len(impulse) // 2, len(impulse) // 2] = 1
    kernel = ndimage.gaussian_filter(impulse, sigma, mode="constant", truncate=4)
    return _whole(_noisy(blurred, 2.0, rng), sigma=2.0, kernel=kernel)


def _motion(image: np.ndarray, length: float, rng: np.random.Generator) -> Damaged:
    length *= _unit(image)
    kernel = line_kernel(length, rng.uniform(0, np.pi))
    blurred = cv2.filter2D(image.astype(np.float64), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return _whole(blurred, sigma=0.0, kernel=kernel, length=length)


def line_kernel(length: float, angle: float) -> np.ndarray:
    """Returns a line a pixel wide through the middle of a square, drawn eight times finer and averaged; sums to 1."""
    side, fine = 2 * int(np.ceil(length / 2)) + 3, 8
    canvas = np.zeros((side * fine, side * fine), np.uint8)
    reach = (length - 1) / 2 * fine * np.array([np.cos(angle), np.sin(angle)])
    middle, bits = (side * fine - 1) / 2, 6
    ends = [tuple(np.round((middle + sign * reach) * 2**bits).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(canvas, *ends, 255, fine, cv2.LINE_AA, bits)
    kernel = cv2.resize(canvas.astype(np.float64), (side, side), interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()


def _jpeg(image: np.ndarray, quality: float, rng: np.random.Generator) -> Damaged:
    return _whole(_compressed(image, int(quality)), quality=int(quality))


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def _low_light(image: np.ndarray, severity: float, rng: np.random.Generator) -> Damaged:
    exposure, gamma, sigma = 0.3, 2.5, 5.0
    dark = 255 * exposure * (image / 255) ** gamma
    return _whole(_noisy(dark, sigma, rng), sigma=sigma, light=(exposure, gamma))


def _box(image: np.ndarray, share: float, rng: np.random.Generator) -> Damaged:
    """A grey box of `share` per cent of the area, about the face: its middle is up to 1/16 off the image's."""
    size, aspect = len(image), 2.0 ** rng.uniform(-0.25, 0.25)  # sides as 1:1.4 to 1.4:1
    width, height = (round(size * np.sqrt(share / 100) * factor) for factor in (aspect, 1 / aspect))
    shift_x, shift_y = size / 16 * rng.uniform(-1, 1, 2)
    left, top = round((size - width) / 2 + shift_x), round((size - height) / 2 + shift_y)
    damaged, mask = image.copy(), np.zeros(image.shape[:2], np.uint8)
    mask[top : top + height, left : left + width] = 1
    damaged[mask > 0] = 128
    return Damaged(damaged, mask, Known())


# Corners of a mask's right half on a face aligned as FFHQ aligns them: parts of the side, from the middle and the top.
_CLOTH = (
    (0.0, 0.555),
    (0.06, 0.575),
    (0.14, 0.6),
    (0.24, 0.585),
    (0.262, 0.70),
    (0.225, 0.82),
    (0.14, 0.915),
    (0, 0.95),
)
_STRAPS = (((0.24, 0.595), (0.36, 0.51)), ((0.25, 0.75), (0.36, 0.63)))
_CLOTHS = ((150, 190, 215), (225, 228, 230), (165, 210, 195), (95, 115, 145))  # RGB


def _mask(image: np.ndarray, severity: float, rng: np.random.Generator) -> Damaged:
    """A surgical mask with pleats and straps; its place, size, tilt and colour vary."""
    size, fine = len(image), 8
    shift, scale, tilt = rng.normal(0, 0.008, 2), rng.normal(1, 0.03), rng.normal(0, 0.03)
    turn = scale * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])

    def place(points: np.ndarray) -> np.ndarray:
        middle = np.array([0.0, 0.74])
        return np.round(((points - middle) @ turn.T + middle + shift + [0.5, 0.0]) * size * fine).astype(np.int32)

    canvas, right = np.zeros((size * fine, size * fine), np.uint8), np.array(_CLOTH)
    cv2.fillPoly(canvas, [place(np.concatenate([right, right[::-1] * [-1, 1]]))], 255)
    for side in (-1, 1):
        for strap in _STRAPS:
            start, end = place(np.array(strap) * [side, 1]).tolist()
            cv2.line(canvas, start, end, 255, max(1, round(0.012 * size * fine)))
    covers = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) > 127
    v, u = np.mgrid[:size, :size] / size - np.array([0.74, 0.5])[:, None, None]
    shade = 1 - 1.5 * u**2 + 0.05 * np.sin(2 * np.pi * v / 0.06 + tilt)
    cloth = np.array(_CLOTHS[rng.integers(len(_CLOTHS))]) * shade[..., None] + rng.normal(0, 3, image.shape)
    damaged = np.where(covers[..., None], to_uint8(cloth), image)
    return Damaged(damaged, covers.astype(np.uint8), Known())


def _blind(image: np.ndarray, severity: float, rng: np.random.Generator) -> Damaged:
    sigma, factor, noise, quality = rng.uniform([0.5, 1, 0, 50], [6, 6, 15, 95])
    blurred = cv2.GaussianBlur(image, (0, 0), sigma * _unit(image), borderType=cv2.BORDER_REPLICATE)
    small = resize(blurred, max(8, round(len(image) / factor)), Image.Resampling.BILINEAR)
    small = _compressed(to_uint8(_noisy(small, noise, rng)), round(quality))
    return _whole(resize(small, len(image), Image.Resampling.BILINEAR))


_DAMAGES: Mapping[str, Callable[[np.ndarray, float, np.random.Generator], Damaged]] = {
    "sr": _shrink,
    "noise": _noise,
    "blur": _blur,
    "motion": _motion,
    "jpeg": _jpeg,
    "lowlight": _low_light,
    "box": _box,
    "mask": _mask,
    "blind": _blind,
}
