"""The face encoder `faceres`: a MobileNet of 1024 features, trained on the people of VGGFace2.

The network is that of Howard et al., 2017; the weights come from Savchenko's HSE_FaceRec, as the `human` library
publishes them.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faceflax import assets
from faceflax.models import convolutions, pretrained

Params = dict[str, jax.Array | np.ndarray]

SIZE = 224
"""Pixels; the side to which faces are resized."""

DIMENSION = 1024

WIDTHS = (32, 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
"""Channels after the first convolution, and after each of the 13 blocks."""

_BLOCKS = range(1, len(WIDTHS))
_HALVING_BLOCKS = (2, 4, 6, 12)
_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)
# Keeps the gradient finite where all features are 0; squared lengths of faces are hundreds.
_EPSILON = 1e-6


def load() -> Params:
    """Returns the 3.2 million parameters, in host memory; raises `UserError` when they cannot be fetched."""
    return pretrained.load("faceres-1", (assets.FACERES_JSON, assets.FACERES_BIN), _convert)


def _convert(description: Path, data: Path) -> pretrained.Weights:
    """Takes the layers up to the pooling, with the scales of batch normalisation multiplied into the kernels.

    Kernels are [3, 3, in, out] of the first convolution, [3, 3, C] of depthwise and [in, out] of pointwise ones.
    """
    source = pretrained.read_tfjs(description, data)
    weights = {
        "conv1/kernel": source["conv1/convolution/merged_input"],
        "conv1/bias": source["conv1_bn/batchnorm_1/sub"],
    }
    for block in _BLOCKS:
        scale = source[f"conv_dw_{block}_bn/batchnorm_1/mul"]
        weights[f"depthwise{block}/kernel"] = source[f"conv_dw_{block}/depthwise_kernel"][..., 0] * scale
        weights[f"depthwise{block}/bias"] = source[f"conv_dw_{block}_bn/batchnorm_1/sub"]
        weights[f"pointwise{block}/kernel"] = source[f"conv_pw_{block}/convolution/merged_input"][0, 0]
        weights[f"pointwise{block}/bias"] = source[f"conv_pw_{block}_bn/batchnorm_1/sub"]
    return weights


def embed(params: Params, images: jax.Array, size: int = SIZE) -> jax.Array:
    """Returns the unit vectors [B, 1024] of RGB images of faces [B, H, W, 3] in [0, 1], cropped around the head.

    Images of any size are stretched to `size` x `size` pixels, a multiple of 32. The network was trained at 224.
    """
    vectors = trunk(params, _resize(images * 255, size), _BLOCKS[-1]).mean((1, 2))
    return vectors * lax.rsqrt(jnp.square(vectors).sum(-1, keepdims=True) + _EPSILON)


def stride(blocks: int) -> int:
    """Returns how many pixels of the image one place of the map after so many blocks stands for, along each side."""
    return 2 ** (1 + sum(block <= blocks for block in _HALVING_BLOCKS))


def trunk(params: Params, images: jax.Array, blocks: int) -> jax.Array:
    """Returns the map [B, h, w, C] after the first so many blocks, of RGB images [B, H, W, 3] in 0 to 255.

    H and W are multiples of `stride(blocks)`.
    """
    hidden = images[..., ::-1] - _MEAN_BGR
    hidden = lax.conv_general_dilated(
        hidden, params["conv1/kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    hidden = jax.nn.relu6(hidden + params["conv1/bias"])
    for block in range(1, blocks + 1):
        hidden = convolutions.depthwise3x3(hidden, params[f"depthwise{block}/kernel"])
        if block in _HALVING_BLOCKS:
            # A stride of 2 pads even sides below and on the right alone, so its windows are the odd ones of stride 1.
            hidden = hidden[:, 1::2, 1::2]
        hidden = jax.nn.relu6(hidden + params[f"depthwise{block}/bias"])
        hidden = convolutions.conv1x1(hidden, params[f"pointwise{block}/kernel"])
        hidden = jax.nn.relu6(hidden + params[f"pointwise{block}/bias"])
    return hidden


def _resize(images: jax.Array, size: int) -> jax.Array:
    """Stretches images to squares as TensorFlow.js does: bilinear, corner on corner, without antialiasing."""
    height, width = images.shape[1:3]
    return jnp.einsum("bhwc,yh,xw->byxc", images, _interpolation(height, size), _interpolation(width, size))


def _interpolation(length: int, size: int) -> np.ndarray:
    """The matrix [size, length] that interpolates samples at multiples of length / size."""
    positions = np.arange(size) * (length / size)
    distances = np.abs(np.minimum(positions, length - 1)[:, None] - np.arange(length))
    return np.maximum(0, 1 - distances).astype(np.float32)
