"""Measures how far faces that look aside can be turned to the front (`faceflax normalize --frontal`).

python docs/measure_frontal.py FOLDER [--picture FILE.png]

FOLDER holds faces; those of `faceflax datasets build synthetic_faces` are nobody's. By the yaw of each face's own mesh,
prints medians of: the yaw of the mesh that is measured on the turned picture, 0 where turning worked; how unlike the
turned face is to its own mirror image (the mean distance between the points of its mesh and those of the mirrored one,
in percent of the distance of the eyes) before and after; and the cosine of faceres between the face as it was and as it
is turned, against that between the face as it was and the face mirrored, which takes nothing from the person. What
this and the picture say of the limit, `frontalise.MOST_YAW`, is in docs/preprocessing.md.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from faceflax.models import face_encoder
from faceflax.preprocessing import alignment, detection, frontalise, mesh
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, to_srgb8, write
from faceflax.preprocessing.mesh import Measure, Mesh

_EDGES = (4, 10, 15, 20, 25, 30, 40)
_SIZE = 256


def main(folder: Path, per_bin: int, most_read: int, picture: Path | None) -> None:
    """Prints a row for each range of yaw."""
    detect, measure = detection.load_detector(), mesh.load_mesh()
    bins: list[list[tuple]] = [[] for _ in _EDGES[1:]]
    for path in sorted(folder.glob("*.jpg"))[-most_read:]:
        turned = _turn(to_srgb8(read(path)), detect, measure)
        if turned is not None:
            place = np.searchsorted(_EDGES, abs(turned[0]), side="right") - 1
            if 0 <= place < len(bins) and len(bins[place]) < per_bin:
                bins[place].append(turned)
    encoder = face_encoder.create("faceres")
    params = encoder.load()
    print("| yaw | faces | yaw after | asymmetry | cosine turned | cosine mirrored |")
    print("| --- | --- | --- | --- | --- | --- |")
    for low, high, faces in zip(_EDGES, _EDGES[1:], bins, strict=False):
        if faces:
            _tell(f"{low} to {high}", faces, lambda crops: np.asarray(encoder.embed(params, _for(encoder, crops))))
    if picture is not None:
        rows = [np.hstack([np.vstack([before, after]) for *_, before, after in faces[:5]]) for faces in bins if faces]
        width = max(row.shape[1] for row in rows)
        write(
            picture, Photograph(np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0))) for r in rows]), None)
        )


def _turn(pixels: np.ndarray, detect, measure: Measure) -> tuple | None:
    """The yaw, that of the turned face, its asymmetry before and after, and both crops."""
    found = detect(pixels)
    measured = measure(pixels, found[0]) if found else None
    if measured is None or measured.score < mesh.LEAST_SCORE:
        return None
    template = alignment.TEMPLATES["ffhq"]
    made = alignment.align(measured.five, _SIZE)
    before = made.crop(pixels)
    after, _ = frontalise.frontalise(pixels, measured, made, template, most_yaw=90)
    again = measure(after, Face(np.array([0, 0, _SIZE, _SIZE], float), _SIZE * template, 1.0))
    if again is None:
        return None
    moved = Mesh(np.hstack([made.to_crop(measured.points[:, :2]), measured.points[:, 2:]]), measured.score)
    return measured.angles[0], again.angles[0], _asymmetry(moved), _asymmetry(again), before, after


def _asymmetry(face: Mesh) -> float:
    points = face.points[:, :2]
    other = points[mesh.mirrored()] * (-1, 1)
    other += points.mean(axis=0) - other.mean(axis=0)
    eyes = np.linalg.norm(face.five[1] - face.five[0])
    return 100 * float(np.linalg.norm(points - other, axis=1).mean() / eyes)


def _for(encoder, crops: list[np.ndarray]) -> np.ndarray:
    return np.stack(
        [cv2.resize(crop, (encoder.image_size,) * 2, interpolation=cv2.INTER_AREA) for crop in crops]
    ) / np.float32(255)


def _tell(name: str, faces: list[tuple], embed) -> None:
    before = embed([face[4] for face in faces])
    mirrored = embed([np.ascontiguousarray(face[4][:, ::-1]) for face in faces])
    after = embed([face[5] for face in faces])
    cosines = [float(np.median((before * other).sum(axis=1))) for other in (after, mirrored)]
    yaw, old, new = (float(np.median(np.abs([face[i] for face in faces]))) for i in (1, 2, 3))
    print(f"| {name} | {len(faces)} | {yaw:.1f} | {old:.1f} to {new:.1f} | {cosines[0]:.2f} | {cosines[1]:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-bin", type=int, default=20, help="faces for each range (default: %(default)s)")
    parser.add_argument("--most-read", type=int, default=1000, help="files looked at (default: %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="five faces a range, above and turned below")
    main(**vars(parser.parse_args()))
