"""Weights in one file: what is written is read back, and what is not ours is refused in one sentence."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from faceflax.errors import UserError
from faceflax.models import weights

MANIFEST = dict.fromkeys(weights.FIELDS, "") | {"step": 3, "metrics": {"psnr": 25.5}}


def _params():
    rng = np.random.default_rng(0)
    return {"stem": {"kernel": rng.standard_normal((3, 3, 4, 8), np.float32)}, "scale": np.float32(0.5)}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "net.safetensors"
    weights.write(path, _params(), MANIFEST)
    params, manifest = weights.read(path)
    assert manifest == MANIFEST == weights.read_manifest(path)
    assert params["stem"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(params["stem"]["kernel"], _params()["stem"]["kernel"].astype(np.float16))
    assert params["scale"].shape == () and params["scale"] == 0.5
    assert path.stat().st_size < 2 * 288 + 1000
    again = tmp_path / "again.safetensors"
    weights.write(again, _params(), MANIFEST)
    assert again.read_bytes() == path.read_bytes()


def test_the_file_is_what_the_format_says(tmp_path):
    path = tmp_path / "net.safetensors"
    weights.write(path, _params(), MANIFEST, dtype=np.float32)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    begin, end = header["stem/kernel"]["data_offsets"]
    values = np.frombuffer(data[8 + length :][begin:end], np.float32).reshape(header["stem/kernel"]["shape"])
    np.testing.assert_array_equal(values, _params()["stem"]["kernel"])
    assert json.loads(header["__metadata__"]["manifest"])["step"] == 3


def test_kernels_in_eight_bits_are_near_what_they_were(tmp_path):
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(0)
    kernel = rng.standard_normal((2, 3, 3, 16, 64), np.float32) * np.geomspace(1e-3, 10, 64, dtype=np.float32)
    kernel[0, 0, 0, :, 0] = 0
    weights.write(path, {"a": {"kernel": kernel, "bias": kernel[0, 0, 0]}}, MANIFEST, dtype=np.int8)
    read = weights.read(path).params["a"]
    np.testing.assert_array_equal(read["bias"], kernel[0, 0, 0].astype(np.float16))
    assert set(read) == {"kernel", "bias"} and read["kernel"].dtype == np.float32
    step = np.abs(kernel).max(-2, keepdims=True) / 127
    assert np.all(np.abs(read["kernel"] - kernel) <= 0.501 * step) and not read["kernel"][0, 0, 0, :, 0].any()
    assert path.stat().st_size < 1.4 * kernel.size
    with pytest.raises(ValueError, match="bias holds values that float16 cannot"):
        weights.write(path, {"bias": 1e9 * kernel[0, 0, 0, 0]}, MANIFEST, dtype=np.int8)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"before")
    for params in ({"a": np.float32(1e6)}, {"a/b": np.float32(1)}):
        with pytest.raises(ValueError, match=r"float16|slash"):
            weights.write(path, params, MANIFEST)
    with pytest.raises(ValueError, match="lacks licence"):
        weights.write(path, _params(), {name: "" for name in weights.FIELDS if name != "licence"})
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_what_is_not_ours_is_one_sentence(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(UserError, match="cannot read the weights"):
        weights.read(path)
    weights.write(path, _params(), MANIFEST)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40], b"", b"not weights at all"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            weights.read(path)
    for header in (None, {"manifest": "{"}):
        path.write_bytes(safetensors.numpy.save({"a": np.zeros(2)}, header))
        with pytest.raises(UserError, match=r"no manifest|damaged"):
            weights.read(path)
