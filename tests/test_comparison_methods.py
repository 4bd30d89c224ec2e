"""Each alternative must earn its row; networks in other formats give what another library gives."""

import base64
import io
import json
import tarfile

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, reference

from faceflax.errors import UserError
from faceflax.evaluation.comparison import damage, mean_face, methods, tensorflow_js
from tests import faces

LEAST = {  # dB over the input, on two synthetic faces
    ("lanczos", "sr 4"): 0.1,
    ("nlm", "noise 50"): 6,
    ("nlm_scikit", "noise 50"): 7,
    ("nlm_blind", "noise 25"): 5,
    ("tv", "noise 50"): 7,
    ("wavelet", "noise 50"): 6,
    ("tv_light", "jpeg 10"): 0.2,
    ("bilateral", "jpeg 10"): 0.3,
    ("wiener", "blur 3"): 2,
    ("wiener_scikit", "blur 3"): 2,
    ("richardson_lucy", "blur 3"): 1.5,
    ("wiener", "motion 15"): 2,
    ("wiener_scikit", "motion 15"): 1,
    ("wiener_angle", "motion 15"): 1,
    ("richardson_lucy", "motion 15"): 1,
    ("clahe", "lowlight 2"): 5,
    ("gamma", "lowlight 2"): 5,
    ("nlm_inverse", "lowlight 2"): 12,
    ("telea", "box 25"): 2,
    ("navier_stokes", "box 25"): 2,
    ("biharmonic", "mask 1"): 0.5,
    ("mean_face", "box 50"): 1.5,
    ("bilateral_light", "blind 2"): 0.0,
}


@pytest.fixture(scope="module")
def mean():
    return np.mean(faces.load(20)[4:], axis=0)


@pytest.mark.parametrize(("name", "spec"), LEAST)
def test_a_classical_method_earns_its_row(name, spec, mean):
    found = methods.ALTERNATIVES[name]
    assert not found.missing and found.made_from["packages"] and found.megabytes == 0
    (task,), restore, gains = damage.parse([spec]), found.load(mean), []
    assert task.name in found.tasks
    for number, face in enumerate(faces.load(2)):
        damaged = damage.apply(face, task, number)
        restored = damage.to_uint8(restore(damaged.image, damaged.mask, damaged.known))
        gains.append(cv2.PSNR(restored, face) - cv2.PSNR(damaged.image, face))
        known = damaged.mask == 0
        assert not damaged.mask.any() or np.array_equal(restored[known], face[known])
    assert np.mean(gains) > LEAST[name, spec]


def test_bm3d_beats_the_other_denoisers():
    pytest.importorskip("bm3d", reason="pip install 'faceflax[comparison]'")
    face = faces.load(1, 48)[0]
    damaged = damage.apply(face, damage.parse(["noise 25"])[0], 0)
    made = {
        name: damage.to_uint8(methods.ALTERNATIVES[name].load(face)(damaged.image, damaged.mask, damaged.known))
        for name in ("bm3d", "nlm")
    }
    assert cv2.PSNR(made["bm3d"], face) > cv2.PSNR(made["nlm"], face)


def test_every_alternative_is_named_pinned_and_has_a_task():
    assert {task.name for task in damage.TASKS} == {t for each in methods.ALTERNATIVES.values() for t in each.tasks}
    for each in methods.ALTERNATIVES.values():
        assert each.source and each.licence and bool(each.megabytes) == bool(each.assets)
        assert all(len(asset.sha256) == 64 for asset in each.assets)
    assert list(methods.choose(["telea", "bm3d"])) == ["telea", "bm3d"]
    with pytest.raises(UserError, match="there is no 'lama'; choose among lanczos"):
        methods.choose(["lama"])


def test_a_harmonic_function_is_found_from_its_border():
    """x^2 - y^2 and a ramp are harmonic, on the grid too."""
    y, x = np.mgrid[:20, :30].astype(float)
    values = np.stack([x**2 - y**2, 3 * x - y], axis=-1)
    hole = np.zeros((20, 30), bool)
    hole[4:15, 6:20] = hole[3, 8] = True
    found = mean_face.harmonic(np.where(hole[..., None], 77.0, values), hole)
    assert np.allclose(found, values)


def test_a_mean_face_that_is_only_lighter_fills_the_hole_exactly(mean):
    face = damage.to_uint8(mean)
    damaged = damage.apply(face, damage.parse(["mask"])[0], 0)
    assert np.array_equal(mean_face.blend(face - 20.0, damaged.image, damaged.mask, damaged.known), face)


def _onnx(operation, image, *weights, **attributes):
    """What ONNX's reference implementation gives for images [B, H, W, C] and kernels as ONNX wants them."""
    names = [f"w{number}" for number in range(len(weights))]
    node = helper.make_node(operation, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", *names)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    session = reference.ReferenceEvaluator(helper.make_model(graph))
    (made,) = session.run(None, {"x": image.transpose(0, 3, 1, 2), **dict(zip(names, weights, strict=True))})
    return made.transpose(0, 2, 3, 1)


def _archive(path, description, weights):
    entries = [{"name": name, "shape": value.shape, "dtype": str(value.dtype)} for name, value in weights.items()]
    content = b"".join(value.tobytes() for value in weights.values())
    half = len(content) // 2  # values are split over files anywhere
    description["weightsManifest"] = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    files = {"model.json": json.dumps(description).encode(), "a.bin": content[:half], "b.bin": content[half:]}
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"package/models/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return tensorflow_js.read(path, "package/models")


def _node(name, op, *inputs, **attr):
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


def _text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


def test_a_graph_gives_what_onnx_gives(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 6, 8, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    transposed = rng.normal(size=(2, 2, 4, 5)).astype(np.float32)  # of a convolution from 4 to 5 channels
    matrix = rng.normal(size=(4, 20)).astype(np.float32)
    twos, ints = {"list": {"i": ["1", "2", "2", "1"]}}, {"type": "DT_INT32"}
    slicing = {f"{name}_mask": {"i": "0"} for name in ("begin", "end", "ellipsis", "new_axis")}
    constants = {
        **{name: np.array([value], np.int32) for name, value in (("zero", 0), ("one", 1), ("three", 3))},
        "first": np.array(1, np.int32),
        "two": np.array(2, np.int32),
        "four": np.array(4, np.int32),
    }
    weights = {"kernel": kernel, "transposed": transposed, "matrix": matrix, **constants}
    nodes = [
        *(_node(name, "Const") for name in weights),
        _node("x", "Placeholder"),
        _node("conv", "Conv2D", "x", "kernel", strides=twos, padding=_text("SAME")),
        _node("shape", "Shape", "x"),
        _node(
            "batch", "StridedSlice", "shape", "zero", "one", "one", shrink_axis_mask={"i": "1"}, Index=ints, **slicing
        ),
        _node("height", "StridedSlice", "shape", "one", "three", "one", shrink_axis_mask={"i": "1"}, **slicing),
        _node(
            "width", "StridedSlice", "shape:0", "two_", "three", "one", "^conv", shrink_axis_mask={"i": "1"}, **slicing
        ),
        _node("size", "Pack", "batch", "height", "width", "four", axis={"i": "0"}),
        _node("up", "Conv2DBackpropInput", "size", "transposed", "conv", strides=twos, padding=_text("VALID")),
        _node("mixed", "Einsum", "up", "matrix", equation=_text("abcg,gf->abcf")),
        _node("best", "Maximum", "mixed", "x_mean"),
    ]
    nodes.insert(len(weights), _node("two_", "ExpandDims", "two", "zero_"))
    nodes.insert(len(weights), _node("zero_", "Squeeze", "zero", squeeze_dims={"list": {}}))
    nodes.insert(-1, _node("x_mean", "Sum", "x", "channels", keep_dims={"b": True}))
    nodes.insert(-2, _node("channels", "Identity", "three"))
    description = {
        "format": "graph-model",
        "signature": {"outputs": {"out": {"name": "best:0"}}},
        "modelTopology": {"node": nodes},
    }
    network = _archive(tmp_path / "a.tgz", description, weights)
    assert set(network.params) == {"kernel", "transposed", "matrix"}  # the rest is small
    down = _onnx("Conv", image, kernel.transpose(3, 2, 0, 1), strides=[2, 2], auto_pad="SAME_UPPER")
    up = _onnx("ConvTranspose", down, transposed.transpose(3, 2, 0, 1), strides=[2, 2])
    expected = np.maximum(up @ matrix, image.sum(-1, keepdims=True))
    assert np.allclose(network.run(network.params, image), expected, atol=1e-4)


def _layer(kind, name, *inputs, **config):
    bound = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": bound}


def test_keras_layers_give_what_onnx_gives(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 5, 4, 3)).astype(np.float32)
    weights = {"c/kernel": rng.normal(size=(3, 3, 3, 48)).astype(np.float32), "c/bias": np.arange(48, dtype=np.float32)}
    plain = {"activation": "linear", "groups": 1, "dilation_rate": [1, 1], "strides": [1, 1], "padding": "same"}
    layers = [
        _layer("InputLayer", "in"),
        _layer("Conv2D", "c", "in", **plain),
        _layer("Activation", "r", "c", activation="relu"),
        _layer("MultiplyBeta", "m", "c", beta=0.2),
        _layer("Add", "s", "r", "m"),
        _layer("PixelShuffle4x", "p", "s", scale=4),
        _layer("Concatenate", "o", "p", "p", axis=3),
    ]
    config = {"layers": layers, "output_layers": [["o", 0, 0]]}
    description = {"format": "layers-model", "modelTopology": {"model_config": {"config": config}}}
    network = _archive(tmp_path / "a.tgz", description, weights)
    made = _onnx("Conv", image, weights["c/kernel"].transpose(3, 2, 0, 1), weights["c/bias"], pads=[1, 1, 1, 1])
    shuffled = _onnx("DepthToSpace", np.maximum(made, 0) + 0.2 * made, blocksize=4, mode="DCR")
    expected = np.concatenate([shuffled, shuffled], axis=-1)
    assert np.allclose(network.run(network.params, image), expected, atol=1e-4)


def test_an_unknown_operation_is_named(tmp_path):
    description = {
        "format": "graph-model",
        "signature": {"outputs": {"out": {"name": "y"}}},
        "modelTopology": {"node": [_node("y", "Fft")]},
    }
    with pytest.raises(ValueError, match="operations Fft are not known"):
        _archive(tmp_path / "a.tgz", description, {})
