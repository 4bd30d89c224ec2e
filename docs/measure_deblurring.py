"""Measures deblurring without a network, on the blurs of docs/comparison.md.

python docs/measure_deblurring.py FOLDER

FOLDER holds clean faces of 128 pixels, framed as FFHQ's. Prints the mean PSNR in dB of the blurred faces, of what
deblurring makes of them, and of what it would make if it were told the blur; how far its estimates of the size (of its
own) and, of a motion, of the angle are off, as medians and worst; and milliseconds a face.
"""

import argparse
import functools
import time
from pathlib import Path

import jax
import numpy as np

from faceflax import deblurring, degradations, metrics
from faceflax.evaluation.comparison import damage
from faceflax.preprocessing.images import read


def main(folder: Path) -> None:
    """Prints a table: a row for each kind of blur."""
    clean = np.stack([read(path).pixels for path in sorted(folder.iterdir())])
    print("| blur | blurred | deblurred | told the blur | size off | angle off | ms |")
    for name, severity in (("motion", 15), ("blur", 3)):
        task = degradations.Task(name, severity)
        damaged = [damage.apply(face, task, index) for index, face in enumerate(clean)]
        images = np.stack([each.image for each in damaged]).astype(np.float32) / 255
        truth = np.stack([_told(each.known, severity) for each in damaged])
        estimate = _mapped(functools.partial(deblurring.estimate, deblurring.KINDS[name]))
        deconvolve = _mapped(functools.partial(deblurring.deconvolve, deblurring.KINDS[name]))
        found = estimate(images)
        cells = [_psnr(clean, each) for each in (images, deconvolve(images, found), deconvolve(images, truth))]
        sizes = np.abs(found[:, 0] - severity)
        turned = np.rad2deg(np.abs((found[:, 1] - truth[:, 1] + np.pi / 2) % np.pi - np.pi / 2))
        off = [f"{np.median(each):.2f}, {each.max():.2f}" for each in (sizes, turned)]
        started = time.perf_counter()
        deconvolve(images, estimate(images))
        took = 1e3 * (time.perf_counter() - started) / len(images)
        angle = f"{off[1]}°" if name == "motion" else ""
        print(f"| {task} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {off[0]} px | {angle} | {took:.1f} |")


def _told(known: damage.Known, severity: float) -> np.ndarray:
    """The blur that was made, as `deblurring` writes it: the angle is that of the kernel's longest axis."""
    y, x = np.indices(known.kernel.shape) - len(known.kernel) // 2
    angle = 0.5 * np.arctan2(2 * (known.kernel * x * y).sum(), (known.kernel * (x**2 - y**2)).sum())
    return np.array([severity, angle, 1], np.float32)


def _mapped(function):
    mapped = jax.jit(lambda *operands: jax.lax.map(lambda each: function(*each), operands))
    return lambda *operands: np.asarray(mapped(*operands))


def _psnr(clean: np.ndarray, images: np.ndarray) -> float:
    return float(metrics.psnr(clean / 255, np.round(255 * np.clip(images, 0, 1)) / 255).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
