"""Faces of nobody who exists, and scenes made of them; networks from the user's own cache."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest

from faceflax import assets
from faceflax.datasets.mini_faces import mini_faces
from faceflax.errors import UserError

GROUP = assets.Asset(
    "insightface",
    "2.1",
    "insightface/data/images/t1.jpg",
    "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
)


def published(load: Callable[[], Any]) -> Any:
    """Loads a network from the user's own cache, where it is fetched to; skips where neither is possible."""
    with mock.patch.dict(os.environ, {"FACEFLAX_CACHE": str(Path("~/.cache/faceflax").expanduser())}):
        try:
            return load()
        except UserError as error:
            if "SHA-256" in str(error):
                raise
            pytest.skip(str(error))


def load(count: int, side: int = 128) -> list[np.ndarray]:
    """The first test faces of mini_faces as uint8 RGB, `side` x `side`."""
    with zipfile.ZipFile(mini_faces.ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[:count]
        found = [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 1)[..., ::-1] for name in names]
    interpolation = cv2.INTER_AREA if side < 128 else cv2.INTER_CUBIC
    return [np.ascontiguousarray(cv2.resize(face, (side, side), interpolation=interpolation)) for face in found]


def background(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours without a face, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(60, 200, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(placements: list[tuple[np.ndarray, np.ndarray]], height: int, width: int) -> np.ndarray:
    """A background with each face [S, S, 3] where its matrix [2, 3] from the face's square, side 1, puts it."""
    picture = background(height, width)
    for face, placement in placements:
        matrix = placement @ np.array(
            [[1 / len(face), 0, 0.5 / len(face)], [0, 1 / len(face), 0.5 / len(face)], [0, 0, 1]]
        )
        matrix[:, 2] -= 0.5
        size = (width, height)
        covers = cv2.warpAffine(np.ones(face.shape[:2], np.float32), matrix, size) > 0.5
        scale = np.hypot(*matrix[:, 0])
        face = cv2.GaussianBlur(face, (0, 0), 0.5 / scale) if scale < 0.8 else face
        picture[covers] = cv2.warpAffine(face, matrix, size, borderMode=cv2.BORDER_REPLICATE)[covers]
    return picture


def placed(side: float, degrees: float, middle: tuple[float, float]) -> np.ndarray:
    """The map [2, 3] from a face's square of side 1 to one of `side` pixels, turned about `middle`."""
    turn = np.deg2rad(degrees)
    linear = side * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, np.asarray(middle) - linear @ (0.5, 0.5)])


def group_photograph() -> np.ndarray:
    """A photograph of six real people, uint8 RGB [886, 1280, 3]: for tests only, and shown to nobody."""
    path = published(lambda: assets.fetch(GROUP))
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
