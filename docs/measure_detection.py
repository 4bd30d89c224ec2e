"""Measures how many faces in noise the detector finds, and where it puts their points: a table of docs/performance.md.

python docs/measure_detection.py [--scenes 32] [--finding 128] [--placing 192]

A scene has six faces of mini_faces before plain colours, 34 to 200 pixels to a side, half of them turned, under noise
of 0, 10, 25 or 50 of 255. A face is found where its five points lie, in the mean, within 0.35 of the eyes' distance of
the template's; a second one there is counted as twice, any other as in error. Of those found it prints the error's
median, and the offset of the points in the square of the face: medians, left and right averaged, x inwards and y
down, all in percent of the eyes' distance. --finding and --placing are the pixels of the detector's close-ups.
"""

import argparse
import zipfile

import cv2
import numpy as np

from faceflax.datasets.mini_faces import mini_faces
from faceflax.errors import run_main
from faceflax.preprocessing import alignment, detection
from faceflax.preprocessing.landmarks import TEMPLATE

_SHAPE = (480, 640)
_MIDDLES = ((110, 120), (320, 120), (520, 130), (110, 360), (320, 360), (520, 350))
_SIDES, _NOISES = (34, 200), (0, 10, 25, 50)
_TITLES = ("noise", "found", "in error", "twice", "error", "eyes", "nose", "mouth")
_MOST_ERROR = 0.35
_EYES = TEMPLATE[1, 0] - TEMPLATE[0, 0]
_MIRRORED = [1, 0, 2, 4, 3]


def main() -> None:
    """Prints a row for each strength of noise, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=32, help="how many (default: %(default)s)")
    parser.add_argument("--finding", type=int, default=detection._FINDING, help="pixels (default: %(default)s)")
    parser.add_argument("--placing", type=int, default=detection._PLACING, help="pixels (default: %(default)s)")
    arguments = parser.parse_args()
    detection._FINDING, detection._PLACING = arguments.finding, arguments.placing
    detect, rng = detection.load_detector(), np.random.default_rng(0)
    known, rows = _faces(), {noise: [] for noise in _NOISES}
    for number in range(arguments.scenes):
        noise = _NOISES[number % len(_NOISES)]
        placements = [_placement(rng, middle) for middle in _MIDDLES]
        rows[noise].append(_compare(detect(_scene(rng, known, placements, noise)), placements))
    print(f"| {' | '.join(_TITLES)} |\n|{' --- |' * len(_TITLES)}")
    for noise, scenes in rows.items():
        _tell(str(noise), scenes)
    _tell("all", sum(rows.values(), []))


def _faces() -> list[np.ndarray]:
    with zipfile.ZipFile(mini_faces.ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        return [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 1)[..., ::-1] for name in names]


def _placement(rng: np.random.Generator, middle: tuple[int, int]) -> np.ndarray:
    """The map [2, 3] from a face's square of side 1 to the scene."""
    side, turn = (
        np.exp(rng.uniform(*np.log(_SIDES))),
        np.deg2rad(rng.choice([0, 0, *rng.uniform((-30, -180), (30, 180))])),
    )
    linear = side * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, middle - linear @ (0.5, 0.5)])


def _scene(rng: np.random.Generator, known: list[np.ndarray], placements: list[np.ndarray], noise: int) -> np.ndarray:
    coarse = rng.integers(60, 200, (6, 8, 3)).astype(np.uint8)
    scene = cv2.resize(coarse, _SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    for placement in placements:
        face = known[rng.integers(len(known))]
        matrix = placement @ np.diag([1 / len(face), 1 / len(face), 1])
        covers = alignment.warp(np.ones(face.shape[:2], np.float32), matrix, _SHAPE, cv2.BORDER_CONSTANT) > 0.5
        scene[covers] = alignment.warp(face, matrix, _SHAPE, cv2.BORDER_REPLICATE)[covers]
    return np.clip(scene + rng.normal(0, noise, scene.shape), 0, 255).astype(np.uint8)


def _compare(found: list[detection.Face], placements: list[np.ndarray]) -> list[tuple[int, float, np.ndarray]]:
    """Of each face found: the nearest one's number, the error, and the points' offsets [5, 2] in that one's square."""
    rows = []
    for face in found:
        offsets = [alignment.transform(alignment.invert(placed), face.points) - TEMPLATE for placed in placements]
        errors = np.linalg.norm(offsets, axis=2).mean(axis=1) / _EYES
        nearest = int(errors.argmin())
        rows.append((nearest, errors[nearest], offsets[nearest]))
    return rows


def _tell(name: str, scenes: list[list[tuple[int, float, np.ndarray]]]) -> None:
    right = [[row for row in rows if row[1] < _MOST_ERROR] for rows in scenes]
    found = sum(len({number for number, *_ in rows}) for rows in right)
    all_right, total = sum(map(len, right)), sum(map(len, scenes))
    offsets = np.median([offset for rows in right for *_, offset in rows], axis=0) * 100 / _EYES
    left, _, nose, mouth, _ = (offsets + offsets[_MIRRORED] * (-1, 1)) / 2
    error = 100 * np.median([error for rows in right for _, error, _ in rows])
    places = " | ".join(f"{x + 0.0:+.1f}, {y:+.1f}" for x, y in (left, nose, mouth))
    counts = f"{found} of {len(_MIDDLES) * len(scenes)} | {total - all_right} | {all_right - found}"
    print(f"| {name} | {counts} | {error:.1f} | {places} |", flush=True)


if __name__ == "__main__":
    run_main(main)
