"""The face encoder `compact`: a shortened faceres that looks at half the pixels, trained here.

The trunk is the first blocks of faceres' MobileNet at 112x112 pixels. Its last map is summed with a weight of
its own at every place and channel, for where a feature lies matters in a face (Chen et al., MobileFaceNets, 2018), and
a linear layer makes the vector.
"""

import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax import lax
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.models import weights
from faceflax.models.face_encoder import faceres
from faceflax.models.layers import he_normal, lecun_normal

Params = dict[str, Any]
_EPSILON = 1e-6


NAME = "compact"

FILE = Path(__file__).with_name("compact.safetensors")
"""The trained parameters, which come with the package."""


def load() -> Params:
    """Returns the trained parameters, in host memory; raises `UserError` when their file is damaged."""
    return weights.read(FILE).params


def version() -> str:
    """Returns eight hexadecimal digits that stand for the trained parameters, whatever their manifest says."""
    digest = hashlib.sha256()
    for name, values in sorted(traverse_util.flatten_dict(load(), sep="/").items()):
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()[:8]


def check(encoder: ConfigDict) -> None:
    """Raises `UserError` when `config.encoder` describes no network."""
    most = len(faceres.WIDTHS) - 1
    if not 1 <= encoder.blocks <= most:
        raise UserError(f"config.encoder.blocks is {encoder.blocks}; faceres has {most}")
    if encoder.size % faceres.stride(encoder.blocks):
        raise UserError(
            f"config.encoder.size is {encoder.size}; make it a multiple of {faceres.stride(encoder.blocks)} pixels"
        )


def init(encoder: ConfigDict, key: jax.Array) -> Params:
    """Returns new parameters of the network that `config.encoder` describes: `size`, `blocks` and `dimension`."""
    keys = iter(jax.random.split(key, 2 * encoder.blocks + 2))
    trunk = {"conv1/kernel": he_normal(next(keys), (3, 3, 3, faceres.WIDTHS[0])) / 64}  # pixels come in 0 to 255
    trunk["conv1/bias"] = jnp.zeros(faceres.WIDTHS[0])
    for block in range(1, encoder.blocks + 1):
        before, after = faceres.WIDTHS[block - 1 : block + 1]
        trunk[f"depthwise{block}/kernel"] = he_normal(next(keys), (9, before)).reshape(3, 3, before)
        trunk[f"depthwise{block}/bias"] = jnp.zeros(before)
        trunk[f"pointwise{block}/kernel"] = he_normal(next(keys), (before, after))
        trunk[f"pointwise{block}/bias"] = jnp.zeros(after)
    side, width = encoder.size // faceres.stride(encoder.blocks), faceres.WIDTHS[encoder.blocks]
    head = {"pool": jnp.full((side, side, width), 1 / side**2), "bias": jnp.zeros(encoder.dimension)}
    head |= {"mean": jnp.zeros(width), "scale": jnp.ones(width)}
    head["kernel"] = lecun_normal(next(keys), (width, encoder.dimension))
    return {"trunk": traverse_util.unflatten_dict(trunk, sep="/"), "head": head}


def started(params: Params, source: faceres.Params) -> Params:
    """Returns `params` with faceres' own parameters, `source`, in the trunk."""
    trunk = traverse_util.flatten_dict(params["trunk"], sep="/")
    trunk = {name: jnp.asarray(source[name]) for name in trunk}
    return params | {"trunk": traverse_util.unflatten_dict(trunk, sep="/")}


def moments(params: Params, images: jax.Array) -> dict[str, jax.Array]:
    """Returns the head's `mean` and `scale` that bring what it is given to mean 0 and deviation 1 over `images`.

    What leaves the trunk is never negative and much the same for all faces, which gradients would take long to undo.
    """
    pooled = _pooled(params, images)
    return {"mean": pooled.mean(0), "scale": 1 / (pooled.std(0) + 1e-3)}


def embed(params: Params, images: jax.Array) -> jax.Array:
    """Returns the unit vectors [B, D] of RGB images of faces [B, H, W, 3] in [0, 1], cropped around the head.

    Images of any size are stretched to the network's: bilinear, antialiased where that shrinks them.
    """
    head = params["head"]
    return unit((_pooled(params, images) - head["mean"]) * head["scale"] @ head["kernel"] + head["bias"])


def _pooled(params: Params, images: jax.Array) -> jax.Array:
    """The trunk's last map, summed over places: [B, C]."""
    trunk, head = traverse_util.flatten_dict(params["trunk"], sep="/"), params["head"]
    blocks = sum(name.startswith("pointwise") and name.endswith("kernel") for name in trunk)
    size = head["pool"].shape[0] * faceres.stride(blocks)
    if images.shape[1:3] != (size, size):
        images = jax.image.resize(images, (len(images), size, size, 3), "linear", antialias=True)
    return jnp.sum(faceres.trunk(trunk, images * 255, blocks) * head["pool"], axis=(1, 2))


def unit(vectors: jax.Array) -> jax.Array:
    """Scales vectors [..., D] to unit length; finite, with a finite gradient, at zero."""
    return vectors * lax.rsqrt(jnp.square(vectors).sum(-1, keepdims=True) + _EPSILON)
