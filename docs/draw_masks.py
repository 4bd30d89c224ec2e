"""Draws docs/masks.jpg: faces of mini_faces masked by `faceflax mask`, and restored with the mask given and found.

python docs/draw_masks.py docs/masks.jpg --model RESTORER_WORKDIR --segmenter SEGMENTER_WORKDIR
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from faceflax.datasets import images, registry, stream
from faceflax.preprocessing.images import Photograph, read, write

_SKIPPED, _FACES = 4, 6  # among the first faces are some in sunglasses
_LOOKS = (("surgical", "blue", "pleats"), ("surgical", "rose", "dots"), ("both", "white", "weave"))
_COMMAND = (sys.executable, "-c", "from faceflax.cli import main; main()")
_KINDS = ("faces", "given", "found")  # folders, in the order of the rows
_ROWS = ("bare", "masked", "mask given", "mask found")


def main(path: str, model: str, segmenter: str) -> None:
    """Writes the picture to `path`, two of the test split's faces for each look."""
    batch = next(stream.eval_stream(registry.load("mini_faces", "test"), image_size=128, batch_size=_SKIPPED + _FACES))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for number, face in enumerate(batch["image"][_SKIPPED:]):
            write(folder / "bare" / str(number % len(_LOOKS)) / f"{number}.png", Photograph(face, None))
        for number, (wear, cloth, texture) in enumerate(_LOOKS):
            look = ("--wear", wear, "--cloth", cloth, "--texture", texture)
            _run("mask", folder / "bare" / str(number), "--out", folder / str(number), *look)
            restore = ("restore", folder / str(number) / "faces", "--model", model)
            _run(*restore, "--out", folder / str(number) / "given", "--mask", folder / str(number) / "masks")
            _run(*restore, "--out", folder / str(number) / "found", "--mask", "auto", "--segmenter", segmenter)
        rows = [_row(folder.glob("bare/*/*.png")), *(_row(folder.glob(f"[0-9]/{kind}/*.png")) for kind in _KINDS)]
    for row, text in zip(rows, _ROWS, strict=True):
        _label(row, text)
    Path(path).write_bytes(images.encode_jpeg(np.vstack(rows), 85))


def _run(*arguments: str | Path) -> None:
    subprocess.run([*_COMMAND, *map(str, arguments), "--aligned"], check=True)


def _row(paths: Iterable[Path]) -> np.ndarray:
    return np.hstack([read(path).pixels for path in sorted(paths)])


def _label(row: np.ndarray, text: str) -> None:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(row, text, (4, 122), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--model", required=True)
    parser.add_argument("--segmenter", required=True)
    main(**vars(parser.parse_args()))
