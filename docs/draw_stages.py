"""Draws docs/preprocessing.jpg: the stages of `faceflax normalize` on synthetic faces.

python docs/draw_stages.py docs/preprocessing.jpg
"""

import sys
import zipfile

import cv2
import numpy as np

from faceflax.datasets.images import decode
from faceflax.datasets.mini_faces.mini_faces import ARCHIVE
from faceflax.errors import UserError, run_main
from faceflax.preprocessing import alignment, chain, detection, mesh

_SIDE = 192
# Faces of the test split: number, side in the scene, turn in degrees, middle, and what is done to its light.
_SCENE = (
    (20, 150, -20, (95, 120), "dark"),
    (14, 120, 15, (250, 100), "orange"),
    (22, 110, 0, (365, 205), "noise"),
    (7, 90, 30, (210, 230), "side"),
    (9, 60, -35, (470, 90), "none"),
)
_STEPS = {
    "aligned": {"relight": False, "denoise": False},
    "light": {"denoise": False},
    "noise": {},
    "frontal": {"frontal": True},
}


def main() -> None:
    """Writes the picture."""
    if len(sys.argv) != 2:
        raise UserError("usage: python docs/draw_stages.py FILE.jpg")
    scene = _scene()
    detect, measure = detection.load_detector(), mesh.load_mesh()
    faces = sorted(detect(scene), key=lambda face: face.box[0])
    shown = scene.copy()
    rows = [[] for _ in _STEPS]
    for face in faces:
        measured = measure(scene, face)
        for point in measured.points[:, :2]:
            cv2.circle(shown, tuple(np.round(point).astype(int)), 0, (90, 255, 120), -1)
        for point in mesh.refine(face, measured).points:
            cv2.circle(shown, tuple(np.round(point).astype(int)), 2, (255, 80, 60), -1)
        corners = np.round(face.box).astype(int)
        cv2.rectangle(shown, tuple(corners[:2]), tuple(corners[2:]), (255, 220, 60), 1)
        for row, changes in zip(rows, _STEPS.values(), strict=True):
            found = chain.normalise_face(scene, face, measured, chain.Settings(size=_SIDE, **changes))
            row.append(found.pixels)
    sheet = np.vstack([np.hstack(row) for row in rows])
    top = cv2.resize(shown, None, fx=sheet.shape[1] / shown.shape[1], fy=sheet.shape[1] / shown.shape[1])
    picture = np.vstack([top, sheet])
    for number, name in enumerate(_STEPS):
        place = (6, top.shape[0] + number * _SIDE + 18)
        for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(picture, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
    cv2.imwrite(sys.argv[1], picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _scene() -> np.ndarray:
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        faces = [decode(archive.read(names[number])) for number, *_ in _SCENE]
    coarse = np.random.default_rng(4).integers(70, 190, (5, 8, 3)).astype(np.uint8)
    scene = cv2.resize(coarse, (530, 300), interpolation=cv2.INTER_CUBIC)
    for face, (_, side, degrees, middle, damage) in zip(faces, _SCENE, strict=True):
        turn = np.deg2rad(degrees)
        linear = side / len(face) * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = np.column_stack([linear, np.array(middle) - linear @ (len(face) / 2, len(face) / 2)])
        covers = alignment.warp(np.ones(face.shape[:2], np.float32), matrix, scene.shape[:2], cv2.BORDER_CONSTANT) > 0.5
        scene[covers] = alignment.warp(_damaged(face, damage), matrix, scene.shape[:2], cv2.BORDER_REPLICATE)[covers]
    return scene


def _damaged(face: np.ndarray, damage: str) -> np.ndarray:
    values = face.astype(np.float64)
    if damage == "dark":
        values = 0.6 * 255 * (values / 255) ** 2
    elif damage == "orange":
        values = values * (1, 0.75, 0.5)
    elif damage == "noise":
        values = values + np.random.default_rng(1).normal(0, 25, values.shape)
    elif damage == "side":
        values = values * np.exp(np.linspace(-2.2, 0, len(face)))[None, :, None]
    return np.uint8(np.clip(np.round(values), 0, 255))


if __name__ == "__main__":
    run_main(main)
