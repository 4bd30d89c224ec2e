"""Measures the mean frontal mesh that `faceflax.preprocessing.mesh.template` reads.

python docs/measure_mesh.py FOLDER faceflax/preprocessing/mesh_template.csv

FOLDER holds faces aligned as FFHQ's. Their meshes are shifted, turned and scaled onto their common mean (generalised
Procrustes analysis; Gower, Psychometrika 1975), which is made symmetric and put where the faces lie in FFHQ's square.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceflax.errors import UserError, run_main
from faceflax.preprocessing import detection, images, mesh

_ROUNDS = 5


def main() -> None:
    """Writes the template."""
    if len(sys.argv) != 3:
        raise UserError("usage: python docs/measure_mesh.py FOLDER FILE.csv")
    detect, measure = detection.load_detector(), mesh.load_mesh()
    found = []
    for path in sorted(Path(sys.argv[1]).iterdir()):
        pixels = images.read(path).pixels
        faces = detect(pixels)
        made = measure(pixels, faces[0]) if faces else None
        if made is not None and made.score > mesh.LEAST_SCORE:
            found.append(made.points / len(pixels))
    shapes = np.array(found)
    mean = np.median(shapes, axis=0)
    mean[:, 2] -= mean[:, 2].mean()
    mean = _symmetric(mean, _mirrored(mean))
    pairs = _mirrored(mean)
    for _ in range(_ROUNDS):
        mean = _symmetric(np.mean([_onto(shape, mean) for shape in shapes], axis=0), pairs)
    np.savetxt(sys.argv[2], mean, fmt="%.5f", delimiter=",")
    print(f"wrote the mean of {len(shapes)} meshes to {sys.argv[2]}")


def _mirrored(mean: np.ndarray) -> np.ndarray:
    other = mean * (-1, 1, 1) + (1, 0, 0)
    apart = np.linalg.norm(mean[None] - other[:, None], axis=2)
    pairs = linear_sum_assignment(apart + apart.T)[1]
    if (pairs[pairs] != np.arange(len(mean))).any():
        raise UserError("left and right points do not pair; give more faces")
    return pairs


def _symmetric(mean: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return (mean + (mean * (-1, 1, 1) + (1, 0, 0))[pairs]) / 2


def _onto(shape: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """`shape` shifted, turned and scaled as brings it nearest to `mean`."""
    moved, centred = shape - shape.mean(axis=0), mean - mean.mean(axis=0)
    left, spread, right = np.linalg.svd(centred.T @ moved)
    signs = np.diag([1, 1, np.linalg.det(left @ right)])
    scale = np.trace(np.diag(spread) @ signs) / np.sum(moved**2)
    return scale * moved @ (left @ signs @ right).T + mean.mean(axis=0)


if __name__ == "__main__":
    run_main(main)
