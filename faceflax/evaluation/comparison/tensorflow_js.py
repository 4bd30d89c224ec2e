"""Networks in TensorFlow.js's two formats, run in JAX: graphs of TensorFlow's operations, and Keras layers.

A package's description and weights are read as data; none of its code is run. Operations are those that published
restorers use. What depends on shapes alone (two thirds of a graph) is computed by numpy while JAX traces.
"""

import base64
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faceflax.models import pretrained

_LEAST = 64  # values of a weight that is a parameter; smaller ones are constants of the program

Weights = dict[str, np.ndarray]
Run = Callable[[Mapping[str, Any], jax.Array], jax.Array]


class Network(NamedTuple):
    """`run(params, images float32 [B, H, W, 3]) -> [B, H', W', 3]`, pure, and its parameters in host memory."""

    run: Run
    params: Weights


def read(archive: Path, folder: str) -> Network:
    """Reads the network that an npm package's archive has in `folder`: model.json, and the files of weights it names.

    Raises `ValueError` where it holds an operation or layer that is not known here.
    """
    with tarfile.open(archive) as opened:
        description = json.load(opened.extractfile(f"{folder}/model.json"))
        (group,) = description["weightsManifest"]
        content = b"".join(opened.extractfile(f"{folder}/{path}").read() for path in group["paths"])
    weights = pretrained.tfjs_weights(group["weights"], content)
    if description["format"] == "layers-model":
        config = description["modelTopology"]["model_config"]["config"]
        return Network(_layers(config["layers"], config["output_layers"][0][0]), weights)
    nodes = description["modelTopology"]["node"]
    (output,) = description["signature"]["outputs"].values()
    large = {name: value for name, value in weights.items() if value.dtype == np.float32 and value.size >= _LEAST}
    small = {name: value for name, value in weights.items() if name not in large}
    return Network(_graph(nodes, output["name"].partition(":")[0], small), large)


def _layers(layers: Sequence[Mapping[str, Any]], output: str) -> Run:
    """The network of Keras layers, which are listed in order."""
    unknown = {layer["class_name"] for layer in layers} - set(_LAYERS)
    if unknown:
        raise ValueError(f"layers {', '.join(sorted(unknown))} are not known")

    def run(params: Mapping[str, Any], images: jax.Array) -> jax.Array:
        values = {}
        for layer in layers:
            name, config = layer["config"]["name"], layer["config"]
            inputs = [values[source[0]] for bound in layer["inbound_nodes"] for source in bound] or [images]
            own = {part: params[f"{name}/{part}"] for part in ("kernel", "bias") if f"{name}/{part}" in params}
            values[name] = _LAYERS[layer["class_name"]](config, own, *inputs)
        return values[output]

    return run


def _convolve(image: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: str) -> jax.Array:
    return lax.conv_general_dilated(image, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _conv_layer(config: Mapping[str, Any], own: Mapping[str, Any], image: jax.Array) -> jax.Array:
    if config["activation"] != "linear" or config["groups"] != 1 or config["dilation_rate"] != [1, 1]:
        raise ValueError(f"the convolution {config['name']} is of a kind that is not known")
    return _convolve(image, own["kernel"], config["strides"], config["padding"].upper()) + own.get("bias", 0.0)


def _depth_to_space(config: Mapping[str, Any], own: Mapping[str, Any], image: jax.Array) -> jax.Array:
    scale = config["scale"]
    batch, height, width, channels = image.shape
    parts = image.reshape(batch, height, width, scale, scale, channels // scale**2)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * scale, width * scale, -1)


def _activate(config: Mapping[str, Any], own: Mapping[str, Any], image: jax.Array) -> jax.Array:
    if config["activation"] != "relu":
        raise ValueError(f"the activation {config['activation']} is not known")
    return jax.nn.relu(image)


_LAYERS: dict[str, Callable[..., jax.Array]] = {
    "InputLayer": lambda config, own, image: image,
    "Conv2D": _conv_layer,
    "Activation": _activate,
    "Concatenate": lambda config, own, *images: jnp.concatenate(images, config["axis"]),
    "Add": lambda config, own, *images: sum(images),
    "MultiplyBeta": lambda config, own, image: image * config["beta"],  # UpscalerJS's own
    "PixelShuffle4x": _depth_to_space,  # UpscalerJS's own
}


def _graph(nodes: Sequence[Mapping[str, Any]], output: str, constants: Mapping[str, np.ndarray]) -> Run:
    """The network of a graph, whose nodes are listed in order."""
    unknown = {node["op"] for node in nodes} - {*_OPERATIONS, "Const", "Placeholder"}
    if unknown:
        raise ValueError(f"operations {', '.join(sorted(unknown))} are not known")

    def run(params: Mapping[str, Any], images: jax.Array) -> jax.Array:
        values = dict(constants) | dict(params)
        for node in nodes:
            if node["op"] == "Placeholder":
                values[node["name"]] = images
            elif node["op"] != "Const":
                # A name that starts with ^ orders operations and carries no value.
                inputs = [values[name.partition(":")[0]] for name in node.get("input", []) if name[0] != "^"]
                is_known = all(isinstance(value, np.ndarray) for value in inputs)
                made = _OPERATIONS[node["op"]](np if is_known else jnp, node.get("attr", {}), *inputs)
                values[node["name"]] = np.asarray(made) if is_known else made
        return values[output]

    return run


def _text(attribute: Mapping[str, str]) -> str:
    return base64.b64decode(attribute["s"]).decode("ascii")


def _ints(attribute: Mapping[str, Any]) -> list[int]:
    return [int(value) for value in attribute["list"].get("i", [])]


def _whole(values: Any) -> tuple[int, ...]:
    """Numbers that say a shape or axes, which must not depend on the image's values."""
    return tuple(np.atleast_1d(values).tolist())


def _einsum(xp: Any, attr: Mapping[str, Any], *values: Any) -> Any:
    return xp.einsum(_text(attr["equation"]), *values)


def _conv(xp: Any, attr: Mapping[str, Any], image: Any, kernel: Any) -> Any:
    return _convolve(image, kernel, _ints(attr["strides"])[1:3], _text(attr["padding"]))


def _conv_transposed(xp: Any, attr: Mapping[str, Any], shape: Any, kernel: Any, image: Any) -> Any:
    """The gradient of a convolution by its input, which is how graphs write a transposed convolution."""
    strides, padding = _ints(attr["strides"])[1:3], _text(attr["padding"])
    made = lax.conv_transpose(
        image, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), transpose_kernel=True
    )
    if made.shape != _whole(shape):
        raise ValueError(f"a transposed convolution gives {made.shape} where the graph says {_whole(shape)}")
    return made


def _strided_slice(xp: Any, attr: Mapping[str, Any], value: Any, begin: Any, end: Any, strides: Any) -> Any:
    masks = {name: int(attr[f"{name}_mask"]["i"]) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    index: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(_whole(begin), _whole(end), _whole(strides), strict=True)):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            index.append(Ellipsis)
        elif masks["new_axis"] & bit:
            index.append(None)
        elif masks["shrink_axis"] & bit:
            index.append(start)
        else:
            index.append(slice(None if masks["begin"] & bit else start, None if masks["end"] & bit else stop, step))
    return value[tuple(index)]


_TYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32, "DT_BOOL": np.bool_}


def _cast(xp: Any, attr: Mapping[str, Any], value: Any) -> Any:
    return value.astype(_TYPES[attr["DstT"]["type"]])


def _sum(xp: Any, attr: Mapping[str, Any], value: Any, axes: Any) -> Any:
    return xp.sum(value, axis=_whole(axes), keepdims=attr["keep_dims"].get("b", False))


def _gather(xp: Any, attr: Mapping[str, Any], value: Any, index: Any, axis: Any) -> Any:
    if int(attr.get("batch_dims", {}).get("i", 0)):
        raise ValueError("a gather over batches is not known")
    return xp.take(value, index, axis=int(axis))


def _by_name(function: str) -> Callable[..., Any]:
    return lambda xp, attr, *values: getattr(xp, function)(*values)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "AddV2": _by_name("add"),
    "Sub": _by_name("subtract"),
    "Mul": _by_name("multiply"),
    "RealDiv": _by_name("true_divide"),
    "FloorDiv": _by_name("floor_divide"),
    "FloorMod": _by_name("mod"),
    **{name: _by_name(name.lower()) for name in ("Square", "Maximum", "Minimum", "Tanh", "Abs", "Exp", "Floor")},
    "Sign": _by_name("sign"),
    "Neg": _by_name("negative"),
    "Reciprocal": _by_name("reciprocal"),
    "Greater": _by_name("greater"),
    "GreaterEqual": _by_name("greater_equal"),
    "Less": _by_name("less"),
    "LessEqual": _by_name("less_equal"),
    "NotEqual": _by_name("not_equal"),
    "LogicalAnd": _by_name("logical_and"),
    "SelectV2": _by_name("where"),
    "Range": _by_name("arange"),
    "Rsqrt": lambda xp, attr, value: 1 / xp.sqrt(value),
    "Identity": lambda xp, attr, value: value,
    "Shape": lambda xp, attr, value: np.array(value.shape, np.int32),
    "Reshape": lambda xp, attr, value, shape: xp.reshape(value, _whole(shape)),
    "BroadcastTo": lambda xp, attr, value, shape: xp.broadcast_to(value, _whole(shape)),
    "Transpose": lambda xp, attr, value, axes: xp.transpose(value, _whole(axes)),
    "ExpandDims": lambda xp, attr, value, axis: xp.expand_dims(value, int(axis)),
    "Squeeze": lambda xp, attr, value: xp.squeeze(value, tuple(_ints(attr["squeeze_dims"])) or None),
    "Pack": lambda xp, attr, *values: xp.stack(values, int(attr["axis"]["i"])),
    "ConcatV2": lambda xp, attr, *values: xp.concatenate(values[:-1], int(values[-1])),
    "Cast": _cast,
    "Sum": _sum,
    "Einsum": _einsum,
    "GatherV2": _gather,
    "StridedSlice": _strided_slice,
    "Conv2D": _conv,
    "Conv2DBackpropInput": _conv_transposed,
}
