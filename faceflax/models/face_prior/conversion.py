"""The published weights of MobileStyleGAN, from the package random-face, in our layout."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from faceflax import assets
from faceflax.models import pretrained
from faceflax.models.face_prior.network import DIMENSION, LEVELS, SLOPE, Params, map_to_style
from faceflax.models.openvino import Graph

_MEAN_SEED, _MEAN_DRAWS = 12345, 4096


def load() -> Params:
    """Returns the 10 million parameters, in host memory; raises `UserError` when they cannot be fetched (36 MB).

    `map0` to `map7` belong to the mapping, `mean` [512] is the mean style; `input`, `first`, `level0` to `level6` and
    `image` belong to the synthesis. Kernels are [in, out], [3, 3, C] of depthwise and [3, 3, in, out] of whole
    convolutions; `style` kernels [512, C] give what multiplies the channels of the layer's input.
    """
    return pretrained.load("face-prior-1", assets.FACE_PRIOR, _convert)


def _convert(mapping_xml: Path, mapping_bin: Path, synthesis_xml: Path, synthesis_bin: Path) -> pretrained.Weights:
    weights = {}
    mapping = Graph(mapping_xml, mapping_bin)
    layers = zip(mapping.shaped(DIMENSION, DIMENSION), mapping.shaped(DIMENSION), strict=True)
    for number, (kernel, bias) in enumerate(layers):
        weights |= {f"map{number}/kernel": kernel.T, f"map{number}/bias": bias}
    weights["mean"] = _mean_style(weights)
    graph = Graph(synthesis_xml, synthesis_bin)
    weights["input"] = graph.named("m.input.input")[0].transpose(1, 2, 0)
    weights |= _convolution(graph, "m.conv1", "first", depthwise=False)
    for level in range(LEVELS):
        ours, theirs = f"level{level}", f"m.layers.{level}"
        weights |= _upsampling(graph, f"{theirs}.up", f"{ours}/up")
        for name in ("conv1", "conv2"):
            weights |= _convolution(graph, f"{theirs}.{name}", f"{ours}/{name}", depthwise=True)
    weights |= _to_image(graph, f"m.layers.{LEVELS - 1}.to_img", "image")
    # Wavelet bands lie one after the other instead of interleaved; what makes them is put in that order.
    for level in range(LEVELS):
        before = f"level{level - 1}/conv2" if level else "first"
        order = _bands_in_a_row(weights[f"{before}/bias"].size)
        for name in (
            f"{before}/kernel",
            f"{before}/bias",
            f"level{level}/up/style/kernel",
            f"level{level}/up/style/bias",
        ):
            weights[name] = weights[name][..., order]
    order = _bands_in_a_row(weights["image/bias"].size)
    for name in ("image/kernel", "image/bias"):
        weights[name] = weights[name][..., order]
    return {name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}


def _mean_style(weights: pretrained.Weights) -> np.ndarray:
    draws = np.random.default_rng(_MEAN_SEED).standard_normal((_MEAN_DRAWS, DIMENSION)).astype(np.float32)
    return np.asarray(map_to_style(weights, jnp.asarray(draws))).mean(0)


_STYLE = ("MatMul", "Add", "Reshape", "Multiply", "Multiply")


def _convolution(graph: Graph, theirs: str, ours: str, *, depthwise: bool) -> pretrained.Weights:
    """A convolution whose input a style modulates, with its noise (an image of one channel), bias and activation."""
    types = (*_STYLE, *(["GroupConvolution"] if depthwise else []), "Convolution", "Add", "Add", "PReLU")
    name = f"{theirs}.conv.modulation.weight"
    style_bias, scale, *kernels, noise, bias, slope = graph.following(name, *types)
    if not np.allclose(slope, SLOPE):
        raise ValueError(f"{theirs} has a slope of {slope}")
    weights = _style(ours, graph.named(name), style_bias, scale)
    if depthwise:
        weights[f"{ours}/depthwise"] = kernels[0][:, 0, 0].transpose(1, 2, 0)
        weights[f"{ours}/kernel"] = kernels[1][:, :, 0, 0].T
    else:
        weights[f"{ours}/kernel"] = kernels[0].transpose(2, 3, 1, 0)
    return weights | {f"{ours}/noise": noise[0].transpose(1, 2, 0), f"{ours}/bias": bias.reshape(-1)}


def _upsampling(graph: Graph, theirs: str, ours: str) -> pretrained.Weights:
    name = f"{theirs}.modulation.weight"
    (bias,) = graph.following(name, "MatMul", "Add")
    return _style(ours, graph.named(name), bias, np.float32(1))


def _to_image(graph: Graph, theirs: str, ours: str) -> pretrained.Weights:
    name = f"{theirs}.conv.modulation.weight"
    style_bias, scale, kernel, bias = graph.following(name, *_STYLE, "Convolution", "Add")
    weights = _style(ours, graph.named(name), style_bias, scale)
    return weights | {f"{ours}/kernel": kernel[:, :, 0, 0].T, f"{ours}/bias": bias.reshape(-1)}


def _style(ours: str, kernel: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> pretrained.Weights:
    return {f"{ours}/style/kernel": (kernel * scale.reshape(())).T, f"{ours}/style/bias": (bias * scale).reshape(-1)}


def _bands_in_a_row(channels: int) -> np.ndarray:
    """Where the channels of (mean, then for each channel its three details) lie in (mean, detail, detail, detail)."""
    quarter = channels // 4
    return np.concatenate([np.arange(quarter), quarter + np.arange(3 * quarter).reshape(quarter, 3).T.reshape(-1)])
