"""What the judging networks see in images. `describe` and `compare` are pure, for inside jit.

A batch is described once and its description compared with as many restorations as there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from faceflax.errors import UserError
from faceflax.models import mobilenet, perceptual, pretrained
from faceflax.models.face_encoder import faceres

Description = dict[str, Any]

_MODULES = {"perceptual": perceptual, "identity": faceres, "kid": mobilenet}
_FEATURES = {"perceptual": perceptual.unit_features, "identity": faceres.embed, "kid": mobilenet.features}

NAMES = tuple(_MODULES)


def load(names: Sequence[str]) -> dict[str, perceptual.Params]:
    """Returns the parameters of the networks `names` (of `NAMES`), in host memory, by name.

    Raises `UserError` for another name, and where a network is not in the cache and cannot be fetched; it says how to
    evaluate without.
    """
    for name in names:
        if name not in NAMES:
            raise UserError(f"there is no judge {name!r}: choose config.eval.judges among {', '.join(NAMES)}")
    chosen = {name: _MODULES[name].load for name in names}
    return pretrained.load_each(chosen, "evaluate without these networks: --config.eval.judges='()'")


def describe(networks: Mapping[str, Any], images: Array) -> Description:
    """Returns what each of `networks` sees in RGB images [B, H, W, 3] in [0, 1].

    By name: `perceptual` the unit features of five layers, {layer: [B, h, w, C]}; `identity` unit vectors [B, 1024];
    `kid` features [B, 1280]. Raises `UserError` where `perceptual` is asked for images under 29 pixels.
    """
    return {name: _FEATURES[name](params, images) for name, params in networks.items()}


def compare(clean: Description, restored: Description) -> dict[str, Array]:
    """Returns scores [B] of images against their originals, from the descriptions of both.

    By name: `perceptual` the distance of `models.perceptual`, 0 to 2, less is better; `identity` the cosine of the two
    vectors, 0 to 1, more is better. A `kid` is a score of whole sets: see `kid`.
    """
    scores = {}
    if "perceptual" in clean:
        scores["perceptual"] = perceptual.unit_distance(clean["perceptual"], restored["perceptual"])
    if "identity" in clean:
        scores["identity"] = jnp.sum(clean["identity"] * restored["identity"], axis=-1)
    return scores
