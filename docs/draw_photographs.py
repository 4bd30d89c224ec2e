"""Draws docs/photographs.jpg: prints of synthetic faces on a table, damaged, and what `faceflax restore` makes of them.

python docs/draw_photographs.py docs/photographs.jpg
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np

from faceflax import degradations
from faceflax.datasets import images, registry, stream
from faceflax.preprocessing.images import Photograph, read, write

_SHAPE = (400, 680)
# Number of the face among the test images, damage, side in pixels, degrees, middle of the print.
_PRINTS = (
    (4, "noise 50", 168, -9, (112, 112)),
    (5, "sr 8", 130, 7, (298, 90)),
    (7, "blur 3", 150, 24, (470, 118)),
    (9, "jpeg 10", 104, -38, (614, 100)),
    (12, "blind 2", 142, 12, (96, 300)),
    (13, "noise 25", 112, -20, (258, 276)),
    (14, "sr 4", 154, -4, (424, 304)),
    (16, "motion 9", 116, 48, (592, 284)),
)
_BORDER = 0.06
_COMMAND = (sys.executable, "-c", "from faceflax.cli import main; main()")


def main(path: str, model: str) -> None:
    """Writes the picture to `path`: before above, after below."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before.png"
        write(before, Photograph(_table(), None))
        subprocess.run([*_COMMAND, "restore", str(before), "--out", f"{folder}/out", "--model", model], check=True)
        rows = [_labelled(read(file).pixels, text) for file, text in _files(before)]
    Path(path).write_bytes(images.encode_jpeg(np.vstack(rows), 90))


def _files(before: Path) -> list[tuple[Path, str]]:
    return [(before, "before"), (before.parent / "out" / before.name, "after")]


def _table() -> np.ndarray:
    height, width = _SHAPE
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(0, 40, _SHAPE).astype(np.float32), (0, 0), sigmaX=24, sigmaY=1)
    table = np.clip(np.array((112, 84, 60)) + grain[..., None], 0, 255).astype(np.uint8)
    count = 1 + max(number for number, *_ in _PRINTS)
    faces = next(stream.eval_stream(registry.load("mini_faces", "test"), image_size=128, batch_size=count))["image"]
    for number, task, side, degrees, middle in _PRINTS:
        face = faces[number]
        if task.startswith("noise"):  # a camera's noise is as fine as its pixels, not enlarged with the print
            face = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        _lay(table, _damaged(face, number, task), side, degrees, middle)
    return table


def _damaged(face: np.ndarray, number: int, task: str) -> np.ndarray:
    (parsed,) = degradations.flatten([task])
    damaged, _ = degradations.degrade_for_evaluation(jnp.asarray(face)[None] / 255, jnp.array([number]), parsed)
    return np.round(np.asarray(damaged[0]) * 255).astype(np.uint8)


def _lay(table: np.ndarray, face: np.ndarray, side: int, degrees: float, middle: tuple[int, int]) -> None:
    border = round(_BORDER * len(face))
    paper = cv2.copyMakeBorder(face, *[border] * 4, cv2.BORDER_CONSTANT, value=(240, 238, 232))
    half = len(paper) / 2 - 0.5
    matrix = cv2.getRotationMatrix2D((half, half), degrees, side / len(face))
    matrix[:, 2] += np.array(middle) - half
    size = table.shape[1::-1]
    for shift, colour in ((4, np.zeros_like(paper)), (0, paper)):  # the shadow, and the print
        moved = matrix + np.array([[0, 0, shift], [0, 0, shift]])
        cover = cv2.warpAffine(np.ones(paper.shape[:2], np.float32), moved, size)
        cover = (cv2.GaussianBlur(cover, (0, 0), 4) * 0.5 if shift else cover)[..., None]
        table[:] = np.round(table + cover * (cv2.warpAffine(colour, moved, size).astype(np.float32) - table))


def _labelled(image: np.ndarray, text: str) -> np.ndarray:
    for place, colour in (((629, 393), (0, 0, 0)), ((628, 392), (255, 255, 255))):  # a shadow, and the text
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--model", default="cnn")
    main(**vars(parser.parse_args()))
