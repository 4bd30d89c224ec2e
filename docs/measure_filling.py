"""Measures how holes are filled without a network, on those of docs/comparison.md.

python docs/measure_filling.py FOLDER

FOLDER holds clean faces of 128 pixels, framed as FFHQ's. Prints the mean PSNR in dB of the faces with holes, and of
what each of `inpainting.FILLS` and the mean face of `mini_faces`, blended in, make of them; and milliseconds a face for
the likeliest one.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from faceflax import metrics
from faceflax.datasets import registry
from faceflax.evaluation.comparison import damage, mean_face
from faceflax.models import inpainting
from faceflax.preprocessing.images import read


def main(folder: Path) -> None:
    """Prints a table: a row for each kind of hole."""
    clean = np.stack([read(path).pixels for path in sorted(folder.iterdir())])
    mean = mean_face.mean_of(registry.load("mini_faces", "train"), clean.shape[1])
    fills = {name: jax.jit(fill) for name, fill in inpainting.FILLS.items()}
    print(f"| hole | damaged | mean face | {' | '.join(fills)} | ms |")
    for task in damage.parse(("box", "mask")):
        damaged = [damage.apply(face, task, index) for index, face in enumerate(clean)]
        images = np.stack([each.image for each in damaged]).astype(np.float32) / 255
        masks = np.stack([each.mask for each in damaged]).astype(np.float32)[..., None]
        blended = np.stack([mean_face.blend(mean, each.image, each.mask, each.known) for each in damaged])
        filled = [np.asarray(fill(images, masks)) for fill in fills.values()]
        cells = [_psnr(clean, each) for each in (images, blended / 255, *filled)]
        fills["face"](images[:1], masks[:1])  # compiled before the clock runs
        started = time.perf_counter()
        for image, mask in zip(images, masks, strict=True):
            fills["face"](image[None], mask[None]).block_until_ready()
        took = 1e3 * (time.perf_counter() - started) / len(images)
        print(f"| {task} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {took:.0f} |")


def _psnr(clean: np.ndarray, images: np.ndarray) -> float:
    return float(metrics.psnr(clean / 255, np.round(255 * np.clip(images, 0, 1)) / 255).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    main(parser.parse_args().folder)
