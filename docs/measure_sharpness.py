"""Measures what `faceflax restore` does to faces that are sharp, and to the same with light damage, at several sizes.

python docs/measure_sharpness.py FOLDER

FOLDER holds clean faces of 256 pixels, framed as FFHQ's: the last of `faceflax datasets build synthetic_faces`.
Those of 512 are enlarged.
Prints the PSNR against the sharp photograph, in dB over the middle of the faces: before, after, and after by the
network's whole change, of which nothing was taken back.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from faceflax.preprocessing.images import Photograph, read, write

_SIDES = (512, 256, 180, 128, 96, 64)
_DAMAGES = ("none", "noise 5", "noise 10", "noise 25", "jpeg 50", "jpeg 30", "sr 2", "grey 17", "grey 25")  # of 255
_SHAPE, _GAP, _TOP = (592, 1356), 20, 40
_RESTORE = "from faceflax.cli import main; main()"
_RESTORE_WHOLE = f"from faceflax.restoration import noisiness; noisiness.cleanness = lambda _: 0.0; {_RESTORE}"


def main(folder: Path, model: str, count: int) -> None:
    """Prints a table: a row for each side, a column for each damage."""
    faces = [read(path).pixels for path in sorted(folder.glob("*.jpg"))[-count * len(_SIDES) :]]
    sharp = [_scene(faces[i::count], i) for i in range(count)]
    columns = [_measure(sharp, damage, model) for damage in _DAMAGES]
    print(f"| side | {' | '.join(_DAMAGES)} |")
    for side, *values in zip(_SIDES, *columns, strict=True):
        print(f"| {side} | {' | '.join(values)} |")


def _scene(faces: list[np.ndarray], seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(60, 200, (6, 8, 3)).astype(np.uint8)
    scene = cv2.resize(coarse, _SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    for face, side, left in zip(faces, _SIDES, _lefts(), strict=True):
        way = cv2.INTER_AREA if side <= len(face) else cv2.INTER_CUBIC
        scene[_TOP : _TOP + side, left : left + side] = cv2.resize(face, (side, side), interpolation=way)
    return scene


def _lefts() -> np.ndarray:
    return np.cumsum([0, *_SIDES[:-1]]) + _GAP * np.arange(1, len(_SIDES) + 1)


def _damaged(scene: np.ndarray, damage: str, rng: np.random.Generator) -> np.ndarray:
    name, _, severity = damage.partition(" ")
    if name in ("noise", "grey"):
        shape = scene.shape if name == "noise" else (*_SHAPE, 1)
        return np.round(np.clip(scene + rng.normal(0, int(severity), shape), 0, 255)).astype(np.uint8)
    if name == "jpeg":
        code = cv2.imencode(".jpg", scene[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(severity)])[1]
        return np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])
    if name == "sr":
        small = cv2.resize(scene, None, fx=1 / int(severity), fy=1 / int(severity), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, _SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return scene


def _measure(sharp: list[np.ndarray], damage: str, model: str) -> list[str]:
    """Before, after and wholly after for each side, the mean over photographs."""
    rng = np.random.default_rng(0)
    if damage.startswith("grey"):  # a black-and-white photograph, whose noise is grey too
        sharp = [cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for scene in sharp]
    before = [_damaged(scene, damage, rng) for scene in sharp]
    with tempfile.TemporaryDirectory() as folder:
        for i, scene in enumerate(before):
            write(Path(folder) / "in" / f"{i:02d}.png", Photograph(scene, None))
        scenes = [before, *(_restored(Path(folder), model, program) for program in (_RESTORE, _RESTORE_WHOLE))]
    return [
        ", ".join(_psnr(some, sharp, side, left) for some in scenes)
        for side, left in zip(_SIDES, _lefts(), strict=True)
    ]


def _restored(folder: Path, model: str, program: str) -> list[np.ndarray]:
    command = [sys.executable, "-c", program, "restore", f"{folder}/in", "--out", f"{folder}/out", "--model", model]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return [read(folder / "out" / path.name).pixels for path in sorted((folder / "in").iterdir())]


def _psnr(scenes: list[np.ndarray], sharp: list[np.ndarray], side: int, left: int) -> str:
    window = np.s_[_TOP + side // 4 : _TOP + 9 * side // 10, left + side // 5 : left + 4 * side // 5]
    errors = [
        np.mean((one[window].astype(float) - other[window]) ** 2) for one, other in zip(scenes, sharp, strict=True)
    ]
    mean = np.mean(errors)
    return f"{10 * np.log10(255**2 / mean):.1f}" if mean else "exact"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--count", type=int, default=10, help="photographs (default: %(default)s)")
    main(**vars(parser.parse_args()))
