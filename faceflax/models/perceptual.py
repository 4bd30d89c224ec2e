"""A perceptual distance: how far two images lie apart in the features of SqueezeNet 1.1, trained on ImageNet.

The network is that of Iandola et al., 2016 (version 1.1), the distance equation 1 of Zhang et al., CVPR 2018, without
the weights that they learnt: figures are not to be compared with theirs.
"""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faceflax import assets
from faceflax.errors import UserError
from faceflax.models import convolutions, pretrained

Params = dict[str, jax.Array | np.ndarray]

LEAST_SIZE = 29
"""Pixels; below this nothing is left after the third pooling."""

LAYERS = ("conv1", "fire3", "fire5", "fire7", "fire9")
"""The layers whose features are compared: at 1/2, 1/4, 1/8 and twice 1/16 of the image's side."""

_FIRES = tuple(f"fire{number}" for number in range(2, 10))
_POOLED_BEFORE = ("fire2", "fire4", "fire6")
_MEAN_BGR = np.array([104.0, 117.0, 123.0], np.float32)
# Unit vectors have a bounded gradient where all features are 0; typical squared lengths are thousands and more.
_EPSILON = 1.0


def load() -> Params:
    """Returns the 0.72 million parameters, in host memory; raises `UserError` when they cannot be fetched."""
    return pretrained.load("squeezenet-1", (assets.SQUEEZENET,), _convert)


def _convert(path: Path) -> pretrained.Weights:
    """Takes the layers up to fire9; kernels are [height, width, in, out], of 1x1 convolutions [in, out]."""
    weights = {}
    for name, (kernel, bias) in pretrained.read_pickled_arrays(path).items():
        if name != "conv10":
            weights[f"{name}/kernel"] = kernel[0, 0] if kernel.shape[:2] == (1, 1) else kernel
            weights[f"{name}/bias"] = bias
    return weights


def features(params: Params, images: jax.Array) -> dict[str, jax.Array]:
    """Returns the outputs of `LAYERS`, [B, h, w, C] each, for RGB images [B, H, W, 3] in [0, 1].

    Raises `UserError` for images under `LEAST_SIZE` pixels.
    """
    if min(images.shape[1:3]) < LEAST_SIZE:
        raise UserError(f"perceptual features need images of {LEAST_SIZE} pixels or more, not {images.shape[1:3]}")
    hidden = images[..., ::-1] * 255 - _MEAN_BGR
    hidden = lax.conv_general_dilated(
        hidden, params["conv1/kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = {"conv1": (hidden := jax.nn.relu(hidden + params["conv1/bias"]))}
    for name in _FIRES:
        if name in _POOLED_BEFORE:
            hidden = nn.max_pool(hidden, (3, 3), (2, 2))
        found[name] = hidden = _fire(params, hidden, name)
    return {name: found[name] for name in LAYERS}


def _fire(params: Params, images: jax.Array, name: str) -> jax.Array:
    """A squeeze to few channels, then 1x1 and 3x3 convolutions side by side; each is followed by a ReLU."""

    def layer(part: str, inputs: jax.Array) -> jax.Array:
        kernel = params[f"{name}/{part}/kernel"]
        convolve = convolutions.conv1x1 if kernel.ndim == 2 else convolutions.conv3x3
        return jax.nn.relu(convolve(inputs, kernel) + params[f"{name}/{part}/bias"])

    squeezed = layer("squeeze1x1", images)
    return jnp.concatenate([layer("expand1x1", squeezed), layer("expand3x3", squeezed)], -1)


def distance(params: Params, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the distance [B] of RGB images `a` and `b`, [B, H, W, 3] in [0, 1]: 0 for equal ones, at most 2.

    Features are scaled to unit length at each position; their squared difference is summed over channels, and
    averaged over positions and then over `LAYERS`. Raises `UserError` for images under `LEAST_SIZE` pixels.
    """
    return unit_distance(unit_features(params, a), unit_features(params, b))


def unit_features(params: Params, images: jax.Array) -> dict[str, jax.Array]:
    """Returns `features` scaled to unit length at each position: what `unit_distance` compares."""
    return {name: _unit(values) for name, values in features(params, images).items()}


def unit_distance(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> jax.Array:
    """Returns `distance` [B], from the `unit_features` of the images."""
    distances = [jnp.square(a[name] - b[name]).sum(-1).mean((1, 2)) for name in LAYERS]
    return sum(distances) / len(distances)


def _unit(values: jax.Array) -> jax.Array:
    return values * lax.rsqrt(jnp.square(values).sum(-1, keepdims=True) + _EPSILON)
