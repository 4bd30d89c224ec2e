"""Writes restorers for other programs: ONNX and StableHLO, checked against the network before they appear."""

import json
import logging
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export  # a module that `import jax` leaves out
import jax.numpy as jnp
import numpy as np

from faceflax import by_device
from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.restoration import exported, networks
from faceflax.restoration.restorers import RestoreBatch
from faceflax.training import parallel

TOLERANCE = 1e-4
"""Largest difference between an exported network's results and the network's own."""
_BATCHES = (1, 3)  # that an export is checked with
_OPSET = 18  # of ONNX; of 2022, so that older runtimes read it too

# (images [B, S, S, 3], masks [B, S, S, 1]) -> restored [B, S, S, 3]
Function = Callable[[jax.Array, jax.Array], jax.Array]


def export(
    function: Function,
    size: int,
    description: dict[str, Any],
    kind: str,
    path: Path,
    say: Callable[[str], None] = lambda doing: None,
) -> float:
    """Writes `function`, at images of `size` pixels, to `path`; returns its largest difference to the file's results.

    Args:
      function: the network with its parameters.
      size: side of the images in pixels.
      description: JSON that goes along; holds "size".
      kind: a key of `FORMATS`.
      path: appears whole and checked or not at all.
      say: called with what is done next.

    Raises:
      UserError: a library that writes the format is not installed, the results differ by more than `TOLERANCE`, or
        `path` cannot be written.
    """
    with atomic_path(path) as temporary:
        say(f"writing the network as {kind}")
        FORMATS[kind](function, size, json.dumps(description, sort_keys=True), temporary)
        say("comparing the file's results with the model's")
        restore = exported.load(temporary, max(_BATCHES))[1]
        truth = networks.compile_function(function, max(_BATCHES))
        difference = max(_difference(truth, restore, size, count) for count in _BATCHES)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the {kind} program's results differ by {difference:.1e} from the model's, so it was not kept; "
                "try the other --format"
            )
    return difference


def _difference(truth: RestoreBatch, restore: RestoreBatch, size: int, count: int) -> float:
    """On noise, with a hole in all images but the first."""
    rng = np.random.default_rng(count)
    image = rng.random((count, size, size, 3), np.float32)
    mask = np.zeros((count, size, size, 1), np.float32)
    mask[1:, size // 4 : size // 2, size // 3 :] = 1
    return float(np.abs(restore(image, mask) - truth(image, mask)).max())


def _write_stablehlo(function: Function, size: int, description: str, path: Path) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, size, size, channels), jnp.float32) for channels in (3, 1)]
    program = parallel.lower_portably(function, *shapes).serialize()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(exported.PROGRAM, bytes(program))
        archive.writestr(exported.DESCRIPTION, description)


def _write_onnx(function: Function, size: int, description: str, path: Path) -> None:
    # They tell of operations that jax2onnx lost to a newer jax, none of them ours, and of shapes that are left open.
    for name in ("jax2onnx", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        import jax2onnx
        import onnx
        import onnxruntime  # noqa: F401 - with which the file is checked
    except ImportError as error:
        raise UserError("--format onnx needs more packages; pip install 'faceflax[export]'") from error
    with by_device.as_on_accelerators(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype float64")
        model = jax2onnx.to_onnx(
            function,
            [("batch", size, size, channels) for channels in (3, 1)],
            model_name="faceflax",
            opset=_OPSET,
            input_names=exported.INPUTS,
            output_names=[exported.OUTPUT],
        )
    onnx.helper.set_model_props(model, {exported.PROPERTY: description})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


FORMATS = {"stablehlo": _write_stablehlo, "onnx": _write_onnx}
"""Writers of each format: `(function, size, description, path)`."""
