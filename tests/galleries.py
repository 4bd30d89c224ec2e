"""For tests of galleries: an invented encoder, its vectors and their records."""

import numpy as np

from faceflax.models.face_encoder import FaceEncoder
from faceflax.recognition.records import Record

ENCODER = FaceEncoder("invented", "00c0ffee", 16, 32, load=dict, embed=lambda params, images: images)


def unit_vectors(count, size=ENCODER.size, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def record(name, source="0", **changes):
    values = {"encoder": ENCODER.name, "version": ENCODER.version, "sources": (source,), "length": 1.0}
    return Record(**values | {"name": name, "consent": "", "purpose": "", "time": 1_800_000_000} | changes)
