"""What a distribution of images is measured in: the features of MobileNetV2, trained on ImageNet.

The network is that of Sandler et al., CVPR 2018 (width 1); the weights are torchvision's.
"""

from pathlib import Path

import jax
import numpy as np
from jax import lax

from faceflax import assets
from faceflax.models import convolutions, pretrained

Params = dict[str, jax.Array | np.ndarray]

SIZE = 224
"""Pixels; the side to which images are resized."""

DIMENSION = 1280

_BLOCKS = range(1, 18)
_HALVING_BLOCKS = (2, 4, 7, 14)
_MEAN_RGB = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION_RGB = np.array([0.229, 0.224, 0.225], np.float32)
_EPSILON = 1e-5  # of PyTorch's batch normalisation


def load() -> Params:
    """Returns the 2.2 million parameters, in host memory; raises `UserError` when they cannot be fetched."""
    return pretrained.load("mobilenet-1", (assets.MOBILENET,), _convert)


def _convert(path: Path) -> pretrained.Weights:
    """Takes the layers up to the pooling, with batch normalisation folded into each convolution before it.

    Kernels are [3, 3, in, out] of the first convolution, [3, 3, C] of depthwise and [in, out] of pointwise ones.
    """
    source = pretrained.read_torch(path)
    weights = _fold(source, "features.0.0", "features.0.1", "conv1")
    for block in _BLOCKS:
        parts = ["depthwise"] if block == 1 else ["expand", "depthwise"]
        prefix = f"features.{block}.conv"
        for number, part in enumerate(parts):
            weights |= _fold(source, f"{prefix}.{number}.0", f"{prefix}.{number}.1", f"{part}{block}")
        last = len(parts)
        weights |= _fold(source, f"{prefix}.{last}", f"{prefix}.{last + 1}", f"project{block}")
    return weights | _fold(source, "features.18.0", "features.18.1", "last")


def _fold(source: pretrained.Weights, convolution: str, normalisation: str, name: str) -> pretrained.Weights:
    """One convolution and the normalisation after it, as the kernel and bias of one layer."""
    scale, shift, mean, variance = (
        source[f"{normalisation}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(variance + _EPSILON)
    kernel = source[f"{convolution}.weight"].transpose(2, 3, 1, 0).squeeze() * scale
    return {f"{name}/kernel": np.float32(kernel), f"{name}/bias": np.float32(shift - mean * scale)}


def features(params: Params, images: jax.Array) -> jax.Array:
    """Returns the features [B, 1280] of RGB images [B, H, W, 3] in [0, 1]: averages over positions, all at least 0.

    Images of any size are stretched to 224x224 by bilinear interpolation between the pixels' centres, with antialiasing
    where they shrink (as scores of distributions need: Parmar et al., CVPR 2022).
    """
    batch, _, _, channels = images.shape
    hidden = jax.image.resize(images, (batch, SIZE, SIZE, channels), "linear")
    hidden = lax.conv_general_dilated(
        (hidden - _MEAN_RGB) / _DEVIATION_RGB,
        params["conv1/kernel"],
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    hidden = jax.nn.relu6(hidden + params["conv1/bias"])
    for block in _BLOCKS:
        hidden = _block(params, hidden, block)
    return jax.nn.relu6(_pointwise(params, hidden, "last")).mean((1, 2))


def _block(params: Params, images: jax.Array, block: int) -> jax.Array:
    """An inverted residual: more channels, a depthwise convolution, fewer channels; plus the input where that fits."""
    hidden = images if block == 1 else jax.nn.relu6(_pointwise(params, images, f"expand{block}"))
    hidden = convolutions.depthwise3x3(hidden, params[f"depthwise{block}/kernel"])
    if block in _HALVING_BLOCKS:
        # PyTorch pads all four sides, so the windows of a stride of 2 are the even ones of stride 1.
        hidden = hidden[:, ::2, ::2]
    hidden = jax.nn.relu6(hidden + params[f"depthwise{block}/bias"])
    hidden = _pointwise(params, hidden, f"project{block}")
    return images + hidden if images.shape == hidden.shape else hidden


def _pointwise(params: Params, images: jax.Array, name: str) -> jax.Array:
    return convolutions.conv1x1(images, params[f"{name}/kernel"]) + params[f"{name}/bias"]
