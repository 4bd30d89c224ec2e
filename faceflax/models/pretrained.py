"""Pretrained weights as numpy arrays: other frameworks' files are read as data, and the result is kept in the cache.

Nothing that such a file holds is ever run.
"""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceflax import assets
from faceflax.assets import Asset
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


def read_tfjs(description: Path, data: Path) -> Weights:
    """Reads the weights of a TensorFlow.js model: its `.json`, and the one `.bin` with all values in the order listed.

    Half-precision values become float32; other kinds of quantisation raise `ValueError`.
    """
    (group,) = json.loads(description.read_text(encoding="utf-8"))["weightsManifest"]
    content, position, weights = data.read_bytes(), 0, {}
    for entry in group["weights"]:
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("float16", "float32", "int32"):
            raise ValueError(f"{description}: {entry['name']} is stored as {stored}")
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


class _ArraysOnly(pickle.Unpickler):
    """Reads a pickle of containers and numpy arrays; no name in it leads to anything but `_Array`."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ):
            return _Array
        raise pickle.UnpicklingError(f"a file of weights names {module}.{name}")


def read_pickled_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads a pickled `{name: [little-endian arrays]}` as data; any other content raises `pickle.UnpicklingError`."""
    content = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    return {name: [array.value() for array in arrays] for name, arrays in content.items()}
