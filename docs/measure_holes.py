"""Measures how well faces with painted holes are found, in the painted picture alone and in the filled one too.

python docs/measure_holes.py FOLDER

FOLDER holds clean faces of any size, framed as FFHQ's; each is put on a larger canvas of its border's colours, at 128,
180 or 256 pixels. A face is found where its five points lie, in the mean, within 0.35 of the eyes' distance of those
that are found without a hole. Prints the share found of each hole, and of those found the mean of that distance in
percent of the eyes', for holes painted white, black, with noise and in the face's own colour: first as they are found
in what is painted, then as `faceflax restore --mask` finds them.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import run_main
from faceflax.preprocessing.images import Photograph, read
from faceflax.restoration import holes, subjects
from faceflax.restoration.subjects import Locate, Located

_SHAPE, _SIDES = (400, 480), (256, 180, 128)
_PAINTS = ("white", "black", "noise", "skin")
_MOST_ERROR = 0.35
_Y, _X = np.mgrid[:256, :256] / 256
_HOLES = {  # in a face's square
    "a box over the middle, 25%": np.maximum(abs(_X - 0.5), abs(_Y - 0.55)) < 0.25,
    "the lower face": (_Y > 0.58) & (((_X - 0.5) / 0.33) ** 2 + ((_Y - 0.58) / 0.42) ** 2 < 1),
    "one eye": (abs(_X - 0.37) < 0.1) & (abs(_Y - 0.47) < 0.07),
    "half the face": (_X < 0.5) & (((_X - 0.5) / 0.4) ** 2 + ((_Y - 0.55) / 0.48) ** 2 < 1),
}


def main() -> None:
    """Prints a row for each hole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    locate, errors = _remembering(subjects.load_locator()), {}
    for number, path in enumerate(sorted(parser.parse_args().folder.iterdir())):
        scene, window = _scene(read(path).pixels, _SIDES[number % len(_SIDES)])
        truth = max((each.face for each in locate(scene)), key=lambda face: face.side).points
        for name, hole in _HOLES.items():
            missing = np.zeros(_SHAPE, np.uint8)
            missing[window] = cv2.resize(hole.astype(np.uint8), missing[window].shape, interpolation=cv2.INTER_NEAREST)
            for paint in _PAINTS:
                painted = _painted(scene, missing > 0, paint, np.random.default_rng(number))
                errors.setdefault(name, []).append(_errors(painted, missing > 0, locate, truth))
    print("| hole | found in what is painted | as restored | error in what is painted | as restored |")
    for name, values in {**errors, "all": sum(errors.values(), [])}.items():
        found, error = zip(*map(_summed, np.transpose(values)), strict=True)
        print(f"| {name} | {' | '.join(found + error)} |")


def _remembering(locate: Locate) -> Locate:
    """Looks at equal pictures once: what is filled is the same whatever was painted."""
    known: dict[int, list[Located]] = {}

    def look(pixels: np.ndarray) -> list[Located]:
        key = hash(pixels.tobytes())
        if key not in known:
            known[key] = locate(pixels)
        return known[key]

    return look


def _scene(face: np.ndarray, side: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The face on its canvas, and where."""
    top, left = ((canvas - side) // 2 for canvas in _SHAPE)
    face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    border = (top, _SHAPE[0] - side - top, left, _SHAPE[1] - side - left)
    scene = cv2.GaussianBlur(cv2.copyMakeBorder(face, *border, cv2.BORDER_REPLICATE), (0, 0), 12)
    window = np.s_[top : top + side, left : left + side]
    scene[window] = face
    return scene, window


def _painted(scene: np.ndarray, hole: np.ndarray, paint: str, rng: np.random.Generator) -> np.ndarray:
    painted = scene.copy()
    if paint == "noise":
        painted[hole] = rng.integers(0, 256, (hole.sum(), 3))
    else:
        painted[hole] = {"white": 255, "black": 0, "skin": np.median(scene[hole], axis=0)}[paint]
    return painted


def _errors(painted: np.ndarray, hole: np.ndarray, locate: Locate, truth: np.ndarray) -> list[float]:
    """In the painted picture and with the filled one too; infinite where no face is found."""
    photograph, filled = (Photograph(pixels, None) for pixels in (painted, holes.fill(painted, hole)))
    eyes = np.linalg.norm(truth[1] - truth[0])
    both = (subjects.find(photograph, locate, 128, hole, filled=also) for also in (None, filled))
    return [
        min((np.linalg.norm(each.located.face.points - truth, axis=1).mean() / eyes for each in found), default=np.inf)
        for found in both
    ]


def _summed(errors: np.ndarray) -> tuple[str, str]:
    found = errors < _MOST_ERROR
    return f"{100 * found.mean():.0f}%", f"{100 * errors[found].mean():.1f}%"


if __name__ == "__main__":
    run_main(main)
