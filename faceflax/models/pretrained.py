"""Pretrained weights as numpy arrays: other frameworks' files are read as data, and the result is kept in the cache.

Nothing that such a file holds is ever run.
"""

import hashlib
import io
import json
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from faceflax import assets
from faceflax.assets import Asset
from faceflax.errors import UserError
from faceflax.files import atomic_path

Weights = dict[str, np.ndarray]


def load(name: str, sources: tuple[Asset, ...], convert: Callable[..., Weights]) -> Weights:
    """Returns `convert(*paths of the sources)`, from the cache when it was made before.

    Args:
      name: of the cached file; it changes when `convert` does.
      sources: the published files; fetched when the result is not in the cache.
      convert: reads them into named arrays.

    Raises:
      UserError: a source cannot be fetched.
    """
    pinned = hashlib.sha256("".join(source.sha256 for source in sources).encode()).hexdigest()[:12]
    path = assets.cache_folder() / "weights" / f"{name}-{pinned}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            pass  # damaged: made again below
    weights = convert(*(assets.fetch(source) for source in sources))
    with atomic_path(path) as temporary:
        np.savez(temporary, **weights)
    return weights


def load_each(networks: Mapping[str, Callable[[], Weights]], otherwise: str) -> dict[str, Weights]:
    """Returns the parameters that the functions of `networks` load, by name.

    Raises `UserError` where one cannot be fetched; it says `otherwise`, how to go on without ("{name}" is the name).
    """
    loaded = {}
    for name, load_one in networks.items():
        try:
            loaded[name] = load_one()
        except UserError as error:
            raise UserError(f"{error}, or {otherwise.format(name=name)}") from error
    return loaded


def read_tfjs(description: Path, data: Path) -> Weights:
    """Reads the weights of a TensorFlow.js model: its `.json`, and the one `.bin` with all values in the order listed.

    Raises as `tfjs_weights`.
    """
    (group,) = json.loads(description.read_text(encoding="utf-8"))["weightsManifest"]
    try:
        return tfjs_weights(group["weights"], data.read_bytes())
    except ValueError as error:
        raise ValueError(f"{description}: {error}") from error


def tfjs_weights(entries: Sequence[Mapping[str, Any]], content: bytes) -> Weights:
    """Returns the weights that `entries` of a TensorFlow.js model describe, whose values follow one another.

    Half-precision values become float32; other kinds of quantisation raise `ValueError`.
    """
    position, weights = 0, {}
    for entry in entries:
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("float16", "float32", "int32"):
            raise ValueError(f"{entry['name']} is stored as {stored}")
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, np.dtype(stored).newbyteorder("<"), count, position)
        position += values.nbytes
        weights[entry["name"]] = values.astype(entry["dtype"]).reshape(entry["shape"])
    return weights


class _Array:
    """Stands in for a pickled numpy array, and for the type that it names."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def value(self) -> np.ndarray:
        _, shape, dtype, fortran_order, content = self.state
        order = "F" if fortran_order else "C"
        return np.frombuffer(content, "<" + dtype.arguments[0]).reshape(shape, order=order)


class _DataOnly(pickle.Unpickler):
    """Reads a pickle of containers and of what `known` lists; no name in it leads to anything else."""

    known: Mapping[tuple[str, str], Any]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"a file of weights names {module}.{name}")
        return self.known[module, name]


class _ArraysOnly(_DataOnly):
    known = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Array,
    }


def read_pickled_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads a pickled `{name: [little-endian arrays]}` as data; any other content raises `pickle.UnpicklingError`."""
    content = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    return {name: [array.value() for array in arrays] for name, arrays in content.items()}


_TORCH_START = (0x1950A86A20F9469CFC6C, 1001)  # the magic number and the version of the format


class _Tensor(NamedTuple):
    """Stands in for a pickled tensor: how it lies in a storage that follows the pickle."""

    storage: tuple[str, type, str, str, int, Any]  # "storage", type of its values, key, device, count, None
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_gradient: bool
    hooks: dict


class _TensorsOnly(_DataOnly):
    known = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch", "FloatStorage"): np.float32,
        ("torch", "LongStorage"): np.int64,
    }

    def persistent_load(self, identity: tuple) -> tuple:
        return identity


def read_torch(path: Path) -> Weights:
    """Reads a state dict that PyTorch saved before version 1.6: pickles, then the values of each storage.

    Tensors are contiguous, of float32 or int64. Anything else in the file raises `pickle.UnpicklingError` or
    `ValueError`; PyTorch is not needed.
    """
    content = io.BytesIO(path.read_bytes())
    start, (_, tensors, keys) = tuple(_load(content, 2)), _load(content, 3)
    if start != _TORCH_START:
        raise ValueError(f"{path} is no checkpoint in PyTorch's old format")
    kinds = {tensor.storage[2]: tensor.storage[1] for tensor in tensors.values()}
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(content.read(8), "<i8")
        kind = np.dtype(kinds[key]).newbyteorder("<")
        storages[key] = np.frombuffer(content.read(int(count) * kind.itemsize), kind)
    return {name: _contiguous(tensor, storages[tensor.storage[2]]) for name, tensor in tensors.items()}


def _load(content: IO[bytes], count: int) -> list[Any]:
    """Reads the next `count` pickles."""
    return [_TensorsOnly(content).load() for _ in range(count)]


def _contiguous(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    values = storage[tensor.offset :][: math.prod(tensor.size)].reshape(tensor.size)
    if values.strides != tuple(step * values.itemsize for step in tensor.stride):
        raise ValueError(f"a tensor of shape {tensor.size} is not contiguous")
    return values
