"""Restorers in files that other programs read too: ONNX for onnxruntime, StableHLO for XLA.

Both hold the whole network, its parameters with it, for any number of images: `image` float32 [batch, S, S, 3] in
[0, 1] and `mask` float32 [batch, S, S, 1] (1 where pixels are missing) give `restored` float32 [batch, S, S, 3], not
clipped. And both hold a description as JSON: an ONNX file among its properties, under `faceflax`; StableHLO as one of
the two members of a zip archive. Nothing here imports jax unless the file needs it.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.errors import UserError

INPUTS, OUTPUT = ("image", "mask"), "restored"
PROPERTY = "faceflax"  # of an ONNX file
PROGRAM, DESCRIPTION = "program.stablehlo", "description.json"  # members of a StableHLO archive
_MOST_BYTES = 2 << 30  # of a member: more is no model but a bomb

# What `restorers.Restorer` is made of.
Parts = tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray], dict[str, Any]]


def load(path: Path, batch_size: int) -> Parts:
    """Reads a file that `exporting.export` wrote: its size, its function and its description.

    Raises `UserError` when it is no such file, damaged, or the library that runs it is not installed.
    """
    return _load_stablehlo(path, batch_size) if zipfile.is_zipfile(path) else _load_onnx(path)


def _load_onnx(path: Path) -> Parts:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: needs onnxruntime to run; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its words on a damaged file follow in our sentence
    try:
        session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime raises kinds of its own, none of them public
        raise UserError(
            f"{path}: is neither a workdir nor a whole file of faceflax export; export the model again"
        ) from error
    description = _description(path, session.get_modelmeta().custom_metadata_map.get(PROPERTY, ""))

    def restore(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], dict(zip(INPUTS, (image, mask), strict=True)))[0]

    return description["size"], restore, description


def _load_stablehlo(path: Path, batch_size: int) -> Parts:
    try:
        with zipfile.ZipFile(path) as archive:
            program, text = (_member(archive, name) for name in (PROGRAM, DESCRIPTION))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: is no whole file of faceflax export --format stablehlo; export the model again"
        ) from error
    description = _description(path, text)
    from faceflax.restoration import networks

    try:
        restore = networks.create_from_program(program, batch_size)
    except Exception as error:  # flatbuffers and MLIR raise many kinds
        raise UserError(f"{path}: this version of jax cannot run its program; export the model again") from error
    return description["size"], restore, description


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError("too large")
    return archive.read(name)


def _description(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        description = json.loads(text)
        if not (isinstance(description["size"], int) and 0 < description["size"] <= 1 << 14):
            raise ValueError("no size")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: does not say which model it holds; export that again with faceflax export") from error
    return description
