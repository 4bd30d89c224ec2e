"""The pictures that the golden files were made from."""

import zipfile

import cv2
import numpy as np

from faceflax.datasets.mini_faces import mini_faces


def faces() -> list[np.ndarray]:
    """Two synthetic faces as RGB uint8: one of 128x128, one enlarged and cut to 250x240."""
    with zipfile.ZipFile(mini_faces.ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[:2]
        small, large = (cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 1)[..., ::-1] for name in names)
    return [np.ascontiguousarray(small), np.kron(large, np.ones((2, 2, 1), np.uint8))[:250, :240]]
