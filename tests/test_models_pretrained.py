"""Pretrained networks: reading their files, and agreement with what their own frameworks compute."""

import functools
import hashlib
import json
import os
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import assets
from faceflax.errors import UserError
from faceflax.models import mobilenet, perceptual, pretrained
from faceflax.models.face_encoder import faceres
from tests import random_networks
from tests.golden import inputs

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def photographs():
    return jnp.asarray(np.stack([face[:64, :64] for face in inputs.faces()]), jnp.float32) / 255


@pytest.fixture
def published(monkeypatch):
    """Loads a network from the user's own cache, where it is fetched to; skips where neither is possible."""
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))

    def load(module):
        try:
            return module.load()
        except UserError as error:
            if "SHA-256" in str(error):
                raise
            pytest.skip(str(error))

    return load


def test_faceres_computes_what_tensorflow_js_does(published):
    params = published(faceres)
    for face, expected in zip(inputs.faces(), json.loads((GOLDEN / "faceres.json").read_text()), strict=True):
        (ours,) = jax.jit(faceres.embed)(params, face[None] / 255)
        expected = np.array(expected) / np.linalg.norm(expected)
        assert np.abs(ours - expected).max() < 1e-3 * expected.max()
        assert ours @ expected > 1 - 1e-5


def test_squeezenet_computes_what_its_framework_does(published):
    found = jax.jit(perceptual.features)(published(perceptual), inputs.faces()[0][None] / 255)
    golden = json.loads((GOLDEN / "squeezenet.json").read_text())
    assert tuple(found) == tuple(golden["channel_means"]) == perceptual.LAYERS
    for name, expected in golden["channel_means"].items():
        np.testing.assert_allclose(found[name][0].mean((0, 1)), expected, rtol=1e-3, atol=1e-3 * max(expected))
    for name, expected in golden["maps"].items():
        np.testing.assert_allclose(found[name][0].mean(-1).ravel(), expected, rtol=1e-3)


def test_mobilenet_computes_what_pytorch_does(published):
    params = published(mobilenet)
    for face, expected in zip(inputs.faces(), json.loads((GOLDEN / "mobilenet.json").read_text()), strict=True):
        (ours,) = jax.jit(mobilenet.features)(params, face[None] / 255)
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * max(expected))


def test_the_distance_grows_with_damage(published, photographs):
    noise = np.random.default_rng(0).normal(0, 1, photographs.shape).astype(np.float32)
    distance = jax.jit(functools.partial(perceptual.distance, published(perceptual)))
    distances = [distance(photographs + sigma * noise, photographs) for sigma in (0, 0.02, 0.1)]
    np.testing.assert_array_equal(distances[0], 0)
    assert (distances[0] < distances[1]).all()
    assert (2 * distances[1] < distances[2]).all()


@pytest.mark.parametrize("network", ["perceptual", "faceres"])
def test_gradients_are_those_of_small_steps(network, photographs):
    if network == "perceptual":
        params = random_networks.squeezenet()
        function = lambda x: perceptual.distance(params, x, photographs).sum()  # noqa: E731
    else:
        params = random_networks.face_mobilenet()
        weights = jax.random.normal(jax.random.key(0), (faceres.DIMENSION,))
        function = lambda x: (faceres.embed(params, x) @ weights).sum()  # noqa: E731
    start = 0.8 * photographs + 0.1
    gradient = jax.jit(jax.grad(function))(start)
    step = 3e-4 * gradient / jnp.linalg.norm(gradient)
    value = jax.jit(function)
    slope = (value(start + step) - value(start - step)) / 6e-4
    assert float(slope) == pytest.approx(float(jnp.linalg.norm(gradient)), rel=0.03)


def test_equal_and_black_images_have_finite_gradients():
    params, black = random_networks.squeezenet(), jnp.zeros((1, 32, 32, 3))
    gradient = jax.jit(jax.grad(lambda x: perceptual.distance(params, x, black).sum()))(black)
    assert np.isfinite(gradient).all()


def test_vectors_have_unit_length(photographs):
    vectors = jax.jit(faceres.embed)(random_networks.face_mobilenet(), photographs)
    assert vectors.shape == (2, faceres.DIMENSION)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_too_small_images_are_refused():
    params = random_networks.squeezenet()
    assert jax.eval_shape(perceptual.features, params, jnp.zeros((1, 29, 29, 3)))["fire9"].shape == (1, 1, 1, 512)
    with pytest.raises(UserError, match="29 pixels"):
        perceptual.features(params, jnp.zeros((1, 28, 40, 3)))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """An asset that lies in a cache of its own."""
    monkeypatch.setenv("FACEFLAX_CACHE", str(tmp_path))
    asset = assets.Asset("some-model", "1.0", "w.bin", hashlib.sha256(b"1234").hexdigest())
    asset.path.parent.mkdir(parents=True)
    asset.path.write_bytes(b"1234")
    return asset


def test_weights_are_converted_once_and_again_when_damaged(source, tmp_path):
    read = []

    def convert(path):
        read.append(path)
        return {"w": np.frombuffer(path.read_bytes(), np.uint8)}

    for _ in range(2):
        np.testing.assert_array_equal(pretrained.load("some-1", (source,), convert)["w"], [49, 50, 51, 52])
    assert read == [source.path]
    (made,) = (tmp_path / "weights").iterdir()
    made.write_bytes(made.read_bytes()[:100])
    np.testing.assert_array_equal(pretrained.load("some-1", (source,), convert)["w"], [49, 50, 51, 52])
    assert len(read) == 2


def test_tfjs_weights_are_read_in_their_types(tmp_path):
    arrays = {
        "half": np.linspace(-2, 2, 6, dtype=np.float16).reshape(2, 3),
        "scalar": np.float32(0.1),
        "axes": np.array([1, 2], np.int32),
    }
    entries = [{"name": name, "shape": list(value.shape), "dtype": str(value.dtype)} for name, value in arrays.items()]
    entries[0] |= {"dtype": "float32", "quantization": {"dtype": "float16", "original_dtype": "float32"}}
    description, data = tmp_path / "net.json", tmp_path / "net.bin"
    description.write_text(json.dumps({"weightsManifest": [{"paths": ["net.bin"], "weights": entries}]}))
    data.write_bytes(b"".join(value.tobytes() for value in arrays.values()))
    weights = pretrained.read_tfjs(description, data)
    assert [str(value.dtype) for value in weights.values()] == ["float32", "float32", "int32"]
    for name, value in arrays.items():
        np.testing.assert_array_equal(weights[name], value)
    entries[0]["quantization"] = {"dtype": "uint8", "scale": 0.1, "min": 0.0}
    description.write_text(json.dumps({"weightsManifest": [{"paths": ["net.bin"], "weights": entries}]}))
    with pytest.raises(ValueError, match="half is stored as uint8"):
        pretrained.read_tfjs(description, data)


def _pickled(tmp_path, content):
    # numpy 2 names the module in which the arrays of old files are rebuilt differently.
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=3).replace(b"numpy._core.", b"numpy.core."))
    return path


def test_pickled_arrays_are_read_without_unpickling_anything_else(tmp_path):
    kernel, bias = np.arange(12, dtype=np.float32).reshape(3, 4), np.asfortranarray(np.eye(3, 2, dtype=np.float64))
    read = pretrained.read_pickled_arrays(_pickled(tmp_path, {"conv": [kernel, bias]}))
    np.testing.assert_array_equal(read["conv"][0], kernel)
    np.testing.assert_array_equal(read["conv"][1], bias)


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_that_names_a_function_is_refused(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        pretrained.read_pickled_arrays(_pickled(tmp_path, {"conv": [Hostile(str(marker))]}))
    assert not marker.exists()


def test_old_torch_checkpoints_are_read_without_torch():
    read = pretrained.read_torch(GOLDEN / "contiguous.pth")
    np.testing.assert_array_equal(read["weight"], [1, 1, 1])
    np.testing.assert_array_equal(read["running_mean"], [0, 0, 0])
    assert read["num_batches_tracked"] == 0 and read["num_batches_tracked"].dtype == np.int64
    np.testing.assert_array_equal(read["view"], np.arange(4, 16).reshape(2, 3, 2))
    np.testing.assert_array_equal(read["all"], np.arange(24, dtype=np.float32))
    with pytest.raises(ValueError, match=r"shape \(6, 4\) is not contiguous"):
        pretrained.read_torch(GOLDEN / "transposed.pth")


def test_a_torch_checkpoint_that_names_a_function_is_refused(tmp_path):
    path = tmp_path / "hostile.pth"
    content = (GOLDEN / "contiguous.pth").read_bytes()
    path.write_bytes(content.replace(b"ccollections\nOrderedDict\n", b"cos\ngetcwd\n"))
    with pytest.raises(pickle.UnpicklingError, match="os.getcwd"):
        pretrained.read_torch(path)
    path.write_bytes(pickle.dumps(1) * 5)
    with pytest.raises(ValueError, match="no checkpoint in PyTorch's old format"):
        pretrained.read_torch(path)
