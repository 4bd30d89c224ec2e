"""The styles of faces that the face prior made: a face's number and its dataset's seed tell which."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np

from faceflax.datasets.registry import Source
from faceflax.datasets.synthetic_faces import recipe
from faceflax.errors import UserError
from faceflax.models import face_prior
from faceflax.models.face_prior import network
from faceflax.training import parallel
from faceflax.training.described import Described

VARIANCE = 57.9
"""Mean squared distance of the styles of `recipe.draw` from the mean style, over 4,000 faces (standard error 0.4)."""

_BATCH_SIZE = 256
_SEED_IN_THE_BOX = 2026  # of `mini_faces`


def describe(source: Source) -> Described:
    """Returns a source with `style`, float32 [512], that each face was made from.

    Raises `UserError` for other datasets than `synthetic_faces` and `mini_faces`, and when the prior cannot be fetched.
    """
    seed = _seed(source)
    drawn = [recipe.draw(seed, int(source[position]["name"])) for position in range(len(source))]
    return Described(source, "style", styles(np.concatenate([z for z, _ in drawn]), np.float32([p for _, p in drawn])))


def styles(z: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Returns the styles [N, 512] of what `recipe.draw` drew: `z` [N, 512] and `psi` [N]."""
    devices = parallel.one_device()
    params = devices.replicate(face_prior.load())
    map_batch = devices.compile_batched(_styles)
    found = []
    for start in range(0, len(z), _BATCH_SIZE):
        part = {"z": z[start : start + _BATCH_SIZE], "psi": psi[start : start + _BATCH_SIZE, None]}
        count = len(part["z"])
        padded = {name: np.pad(values, [(0, _BATCH_SIZE - count), (0, 0)]) for name, values in part.items()}
        found.append(np.asarray(map_batch(params, padded))[:count])
    return np.concatenate(found)


def _styles(params: Any, batch: dict[str, jnp.ndarray]) -> jnp.ndarray:
    return network.truncate(params, network.map_to_style(params, batch["z"]), batch["psi"])


def _seed(source: Source) -> int:
    info = source.info
    if info.name == "mini_faces":
        return _SEED_IN_THE_BOX
    seed = re.search(r"-seed(\d+)$", info.config_name or "")
    if info.name != "synthetic_faces" or not seed:
        raise UserError(
            f"{info.name} was not made by the face prior, or does not say from what: inversion learns from "
            "synthetic_faces or mini_faces, or from config.data.source prior"
        )
    return int(seed[1])
