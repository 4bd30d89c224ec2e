"""Measures restorers on damage between and beyond that which they were trained on, and which experts it is given to.

python docs/measure_experts.py FOLDER cnn [MODEL ...]

FOLDER holds clean faces of 128 pixels, framed as FFHQ's; a MODEL is a name or a workdir. The damage is made by OpenCV,
Pillow and numpy. Prints the mean PSNR in dB of the damaged faces and of each model's, and of the last model that has
experts how many faces each of them got.
"""

import argparse
import io
from collections import Counter
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from faceflax import models
from faceflax.models import experts
from faceflax.preprocessing.images import read
from faceflax.training import trained as trained_lib

_BATCH = 17
_RNG = np.random.default_rng(7)


def _clipped(image: np.ndarray) -> np.ndarray:
    return np.round(np.clip(image, 0, 255)).astype(np.uint8)


def _noise(image: np.ndarray, sigma: float) -> np.ndarray:
    return image + _RNG.normal(0, sigma, image.shape)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image.astype(np.float64), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _motion(image: np.ndarray, length: int) -> np.ndarray:
    kernel, angle = np.zeros((length + 2, length + 2), np.float32), _RNG.uniform(0, np.pi)
    middle, half = (length + 1) / 2, np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    ends = [tuple(np.round(middle + side * half).astype(int).tolist()) for side in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(image.astype(np.float64), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _shrunk(image: np.ndarray, factor: float, sigma: float = 0) -> np.ndarray:
    side = round(len(image) / factor)
    small = Image.fromarray(_clipped(image)).resize((side, side), Image.Resampling.BICUBIC)
    small = Image.fromarray(_clipped(_noise(np.asarray(small, np.float64), sigma)))
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BICUBIC), np.float64)


def _averaged(image: np.ndarray, factor: int) -> np.ndarray:
    small = cv2.resize(_clipped(image), None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float64)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(_clipped(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64)


def _dark(image: np.ndarray, exposure: float, gamma: float) -> np.ndarray:
    return 255 * exposure * (np.clip(image, 0, 255) / 255) ** gamma


_DAMAGES = {
    "none": lambda face: face,
    "shrunk 3": lambda face: _shrunk(face, 3),
    "shrunk 5": lambda face: _shrunk(face, 5),
    "shrunk 4 by area, enlarged linearly": lambda face: _averaged(face, 4),
    "shrunk 2 by area, enlarged linearly": lambda face: _averaged(face, 2),
    "noise 5": lambda face: _noise(face, 5),
    "noise 10": lambda face: _noise(face, 10),
    "noise 35": lambda face: _noise(face, 35),
    "blur 1": lambda face: _blur(face, 1),
    "blur 2, noise 2": lambda face: _noise(_blur(face, 2), 2),
    "blur 3": lambda face: _blur(face, 3),
    "blur 4, noise 2": lambda face: _noise(_blur(face, 4), 2),
    "motion 7": lambda face: _motion(face, 7),
    "motion 12": lambda face: _motion(face, 12),
    "motion 20": lambda face: _motion(face, 20),
    "motion 15, noise 3": lambda face: _noise(_motion(face, 15), 3),
    "JPEG 20": lambda face: _jpeg(face, 20),
    "JPEG 80": lambda face: _jpeg(face, 80),
    "shrunk 4, then noise 5": lambda face: _noise(_shrunk(face, 4), 5),
    "shrunk 4, noise 5, enlarged": lambda face: _shrunk(face, 4, 5),
    "shrunk 4, JPEG 60": lambda face: _jpeg(_shrunk(face, 4), 60),
    "blur 1.5, noise 15": lambda face: _noise(_blur(face, 1.5), 15),
    "noise 15, JPEG 50": lambda face: _jpeg(_noise(face, 15), 50),
    "0.4 of the light, noise 3": lambda face: _noise(_dark(face, 0.4, 1), 3),
    "0.5 of the light, gamma 1.5, noise 8": lambda face: _noise(_dark(face, 0.5, 1.5), 8),
    "0.6 of the light, gamma 1.5, noise 2, JPEG 60": lambda face: _jpeg(_noise(_dark(face, 0.6, 1.5), 2), 60),
    "motion 9, 0.4 of the light, gamma 2, noise 3": lambda face: _noise(_dark(_motion(face, 9), 0.4, 2), 3),
}


def main(folder: Path, names: list[str]) -> None:
    """Prints a table: a row for each damage, a column for each model."""
    clean = np.stack([read(path).pixels for path in sorted(folder.iterdir())])
    loaded = [trained_lib.load_restorer(name) for name in names]
    restorers = [jax.jit(models.create(each.config.model).apply) for each in loaded]
    print(f"| damage | damaged | {' | '.join(names)} | given to |")
    for damage, function in _DAMAGES.items():
        degraded = np.stack([_clipped(function(face.astype(np.float64))) for face in clean])
        images = jnp.asarray(degraded, jnp.float32) / 255
        values = [_psnr(clean, degraded)]
        for trained, restore in zip(loaded, restorers, strict=True):
            values.append(_psnr(clean, _restored(restore, trained.params, images)))
        cells = [f"{value:.2f}" if np.isfinite(value) else "" for value in values]
        print(f"| {damage} | {' | '.join(cells)} | {_given(loaded, images)} |", flush=True)


def _restored(restore, params, images: jax.Array) -> np.ndarray:
    mask = jnp.zeros_like(images[..., :1])
    parts = [slice(first, first + _BATCH) for first in range(0, len(images), _BATCH)]
    return _clipped(255 * np.concatenate([restore(params, images[part], mask[part]) for part in parts]))


def _psnr(clean: np.ndarray, other: np.ndarray) -> float:
    errors = np.square(clean.astype(np.float64) - other).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(255**2 / errors)))


def _given(loaded: list[trained_lib.Trained], images: jax.Array) -> str:
    chosen = [each for each in loaded if each.config.model.experts][-1:]
    if not chosen:
        return ""
    (trained,) = chosen
    tasks = tuple(trained.config.model.experts)
    numbers = np.argmax(experts.route(trained.params, tasks, images, jnp.zeros_like(images[..., :1])), -1)
    return ", ".join(f"{tasks[number]}: {count}" for number, count in Counter(numbers.tolist()).most_common())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.models)
