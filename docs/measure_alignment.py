"""Measures how much the alignment of a face depends on its turn and its size: the table of docs/preprocessing.md.

python docs/measure_alignment.py [--faces 8]

Each of the first test faces of mini_faces, 256x256, is put before plain colours, turned by -45, 0 and 45 degrees and
at 0.5, 1 and 2 times its size; nine poses. In each it is found and measured anew, and FFHQ's five points and the
corners of its square are brought back into the face by the alignment. Printed is how far these lie apart, in percent of
the distance of the eyes: of each pose from the median pose, and of every two poses from each other; the mean over the
five points, the worst of them, and the worst corner.
"""

import argparse
import itertools
import zipfile

import cv2
import numpy as np

from faceflax.datasets.mini_faces import mini_faces
from faceflax.errors import run_main
from faceflax.preprocessing import alignment, detection, mesh
from faceflax.preprocessing.landmarks import TEMPLATE

_TURNS, _SCALES = (-45, 0, 45), (0.5, 1, 2)
_SIDE, _PHOTOGRAPH = 256, 780
_CORNERS = np.array([(0, 0), (1, 0), (0, 1), (1, 1)], float)


def main() -> None:
    """Prints a row for each face, and the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=8, help="how many (default: %(default)s)")
    count = parser.parse_args().faces
    detect, measure = detection.load_detector(), mesh.load_mesh()
    print("| face | median: mean | median: worst point | pair: mean | pair: worst point | pair: worst corner |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for number, face in enumerate(_faces(count)):
        poses = [_bring_back(face, turn, scale, detect, measure) for turn in _TURNS for scale in _SCALES]
        rows.append(_apart(np.array(poses)))
        _tell(str(number), rows[-1])
    _tell("worst", np.max(rows, axis=0))


def _faces(count: int) -> list[np.ndarray]:
    with zipfile.ZipFile(mini_faces.ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[:count]
        found = [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 1)[..., ::-1] for name in names]
    return [cv2.resize(face, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) for face in found]


def _bring_back(face: np.ndarray, turn: float, scale: float, detect, measure: mesh.Measure) -> np.ndarray:
    """The five points and the square's corners [9, 2] by one pose's alignment, in sides of the face's picture."""
    radians = np.deg2rad(turn)
    linear = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    placement = np.column_stack([linear, _PHOTOGRAPH / 2 - linear @ np.full(2, _SIDE / 2)])
    picture = _photograph()
    covers = alignment.warp(np.ones(face.shape[:2], np.float32), placement, picture.shape[:2], cv2.BORDER_CONSTANT)
    moved = alignment.warp(face, placement, picture.shape[:2], cv2.BORDER_REPLICATE)
    picture[covers > 0.5] = moved[covers > 0.5]
    found = detect(picture)[0]
    points = mesh.refine(found, measure(picture, found)).points
    made = alignment.align(points, 1).to_photograph(np.vstack([TEMPLATE, _CORNERS]))
    return alignment.transform(alignment.invert(placement), made) / _SIDE


def _photograph() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(60, 200, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (_PHOTOGRAPH, _PHOTOGRAPH), interpolation=cv2.INTER_CUBIC)


def _apart(poses: np.ndarray) -> np.ndarray:
    """The five figures of poses [P, 9, 2], in percent of the distance of the eyes."""
    from_median = np.linalg.norm(poses[:, :5] - np.median(poses[:, :5], axis=0), axis=2)
    pairs = np.array([np.linalg.norm(one - other, axis=1) for one, other in itertools.combinations(poses, 2)])
    five = pairs[:, :5]
    figures = (from_median.mean(axis=1), from_median, five.mean(axis=1), five, pairs[:, 5:])
    return 100 * np.array([figure.max() for figure in figures]) / (TEMPLATE[1, 0] - TEMPLATE[0, 0])


def _tell(name: str, figures: np.ndarray) -> None:
    print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    run_main(main)
