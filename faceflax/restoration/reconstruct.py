"""Faces from feature vectors alone: of an enrolled person, and of those between two people."""

from typing import Any

import jax
import numpy as np

from faceflax.errors import UserError
from faceflax.models import face_prior
from faceflax.models.face_prior import mapper, sampling, synthesis
from faceflax.training import parallel


class Reconstructor:
    """Makes faces of vectors; what it makes shows what a stored vector gives away, not what somebody looked like."""

    def __init__(self, encoder_version: str, size: int, devices: parallel.Parallel):
        """Loads the face prior and the map.

        Args:
          encoder_version: `FaceEncoder.version` of the encoder that made the vectors.
          size: pixels of the faces, of `synthesis.SIZES`.
          devices: where to compute.

        Raises:
          UserError: where `check` does, or the weights cannot be fetched.
        """
        check(encoder_version, size)
        self._params = devices.replicate({"prior": face_prior.load(), "map": mapper.load()[0]})
        self._make = devices.compile_batched(lambda params, vectors: _reconstruct(params, vectors, size))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Returns RGB faces uint8 [B, size, size, 3] of unit vectors float32 [B, 1024]."""
        return np.concatenate([np.asarray(self._make(self._params, vector[None])) for vector in vectors])


def check(encoder_version: str, size: int) -> None:
    """Raises `UserError` where no faces of `size` pixels can be made of vectors of that version of an encoder."""
    _, fitted_to = mapper.load()
    if encoder_version != fitted_to:
        raise UserError(
            f"these feature vectors are of version {encoder_version}, and faces can be made from vectors of "
            f"version {fitted_to} (faceres) alone; enrol the photographs again with that encoder"
        )
    if size not in synthesis.SIZES:
        raise UserError(f"faces can be made at {', '.join(map(str, synthesis.SIZES))} pixels, not {size}")


def _reconstruct(params: Any, vectors: jax.Array, size: int) -> jax.Array:
    return sampling.make_faces(params["prior"], mapper.map_vectors(params["map"], vectors), size)


def between(first: np.ndarray, last: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` unit vectors [count, D] at equal angles on the way from unit vector `first` to `last`, both [D].

    Spherical interpolation (Shoemake, SIGGRAPH 1985).
    """
    angle = np.arccos(np.clip(first @ last, -1, 1))
    share = np.linspace(0, 1, count)[:, None]
    if angle < 1e-4:
        return np.repeat(first[None], count, axis=0)
    return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
