"""From a face's feature vector to a style of the face prior: one affine map, fitted to faces that the prior made.

Light, background and pose are hardly in such a vector, so the map gives their mean; who it is, mostly is.
"""

from pathlib import Path

import jax

from faceflax.models import weights
from faceflax.models.face_prior.network import Params

FILE = Path(__file__).parent / "mapper.safetensors"
"""The fitted map, as `experiments.fit_mapper` wrote it."""


def load() -> tuple[Params, str]:
    """Returns the parameters (`kernel` [1024, 512], `bias` [512]), and the version of the encoder they go with.

    Vectors are those of `face_encoder.create("faceres")`, which changes its `version` when they change.
    """
    params, manifest = weights.read(FILE)
    return params, manifest["config"]["encoder_version"]


def map_vectors(params: Params, vectors: jax.Array) -> jax.Array:
    """Returns the styles [B, 512] of unit vectors [B, 1024]."""
    return vectors @ params["kernel"] + params["bias"]
