"""Trained weights in one file: safetensors, with what they are and where they come from in its header.

The format (https://github.com/huggingface/safetensors) holds arrays and text alone, so that a file from anywhere can
be read without running anything of it. The only user of the library.
"""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from faceflax.errors import UserError
from faceflax.files import atomic_path

FIELDS = ("kind", "config", "dataset", "step", "metrics", "commit", "licence")
"""What every manifest says: what the weights are of, the experiment's configuration, the training data (name, split,
fingerprint), the steps trained, what validation measured, the code's commit, and what the weights may be used for."""

_ENTRY = "manifest"  # of the header, whose values are text
_STEP = "@step"  # ends the names of the steps of kernels that are held as int8


class Weights(NamedTuple):
    """Parameters, nested dicts of float32 arrays in host memory, and the manifest that came with them."""

    params: dict[str, Any]
    manifest: dict[str, Any]


def write(
    path: Path,
    params: Mapping[str, Any],
    manifest: Mapping[str, Any],
    dtype: Any = np.float16,
    finer: Collection[str] = (),
) -> None:
    """Writes nested dicts of arrays to `path`, whole or not at all; equal arguments give equal bytes.

    Args:
      path: the file, by custom ending in .safetensors.
      params: nested dicts with names free of "/"; arrays are stored as `dtype`.
      manifest: what JSON can hold; has all of `FIELDS`.
      dtype: float16 halves the file; rounding is then to 11 bits. int8 makes it a quarter: kernels are held as `_round`
        makes them, all else as float16.
      finer: names at the top of `params`; what is under them is float16 even where `dtype` is int8.

    Raises:
      UserError: the place cannot be written.
      ValueError: a field is missing, a name has a "/", or a value does not fit into `dtype`.
    """
    missing = [field for field in FIELDS if field not in manifest]
    if missing:
        raise ValueError(f"the manifest lacks {', '.join(missing)}")
    named = {}
    for keys, value in traverse_util.flatten_dict(params).items():
        if any("/" in key for key in keys):
            raise ValueError(f"{keys} holds a name with a slash")
        name, is_rounded = "/".join(keys), dtype == np.int8 and keys[-1] == "kernel" and keys[0] not in finer
        held = np.float32 if is_rounded else np.float16 if dtype == np.int8 else dtype
        with np.errstate(over="ignore"):  # what overflows is not finite, which is said below
            array = np.asarray(value).astype(held, order="C")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that {np.dtype(held).name} cannot")
        if is_rounded:
            array, named[name + _STEP] = _round(array)
        named[name] = array
    with atomic_path(path) as temporary:
        header = {_ENTRY: json.dumps(manifest, sort_keys=True)}
        temporary.write_bytes(safetensors.numpy.save(named, header))


def read(path: Path) -> Weights:
    """Returns what `write` wrote; raises `UserError` when the file is missing, damaged, or lacks our manifest."""
    with _opened(path) as file:
        named = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        for name in [name for name in named if name.endswith(_STEP)]:
            named[name.removesuffix(_STEP)] *= named.pop(name)
        return Weights(traverse_util.unflatten_dict(named, sep="/"), _manifest(file))


def _round(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel [..., inputs, outputs] as int8, and the steps [..., 1, outputs] it is to be multiplied by.

    Of every output the largest weight, at each place of the kernel, is 127 steps, which are held in half precision.
    """
    step = (np.abs(kernel).max(-2, keepdims=True) / 127).astype(np.float16)
    whole = np.round(kernel / np.where(step > 0, step, 1).astype(np.float32))
    return np.clip(whole, -127, 127).astype(np.int8), step


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest alone, without reading the arrays; raises as `read`."""
    with _opened(path) as file:
        return _manifest(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"{path} is damaged, or holds no weights ({error}); fetch it again") from error
    except KeyError as error:
        raise UserError(f"{path} has no manifest of faceflax in its header; it was made by another program") from error


def _manifest(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {})[_ENTRY])
