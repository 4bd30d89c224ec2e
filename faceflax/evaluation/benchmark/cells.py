"""The cells of a benchmark: what one method made of one task, in a file each.

A cell says what it was made from; when any of that changes, it is stale and is measured again.
"""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from faceflax.degradations import Task
from faceflax.files import atomic_path

FORMAT = 1  # of the file, and of what is measured: raise it when either changes


@dataclasses.dataclass(frozen=True)
class Cell:
    """N images of one task, as one method restored them.

    Attributes:
      made_from: what decides the numbers, as JSON knows it: fingerprints, checkpoint, judges.
      index: [N] numbers of the images in the split, ascending.
      scores: float64 [N] by metric; NaN where a metric is not defined.
      descriptors: float16 [N, D] by judge ("kid", "identity", "identity_dlib"): what sets of images are compared by.
      of_set: scores of the N images as a set, by name ("kid", "tar_identity_0.01").
      failed: [N], where the method's result was not finite.
      pictures: uint8 [K, S, S, 3], the first K results.
    """

    made_from: dict[str, Any]
    index: np.ndarray
    scores: dict[str, np.ndarray]
    descriptors: dict[str, np.ndarray]
    of_set: dict[str, float]
    failed: np.ndarray
    pictures: np.ndarray


def path(workdir: Path, method: str, task: Task) -> Path:
    """Where the cell of `method` ("input", "gan-0") and `task` lies."""
    return workdir / "cells" / method / f"{task.name}_{task.severity:g}.npz"


def write(file: Path, cell: Cell) -> None:
    """Writes the cell, whole or not at all; raises `UserError` when the disk does not take it."""
    arrays = {"index": cell.index, "failed": cell.failed, "pictures": cell.pictures}
    arrays |= {f"of_set/{name}": np.float64(value) for name, value in cell.of_set.items()}
    arrays |= {f"scores/{name}": values for name, values in cell.scores.items()}
    arrays |= {f"descriptors/{name}": values for name, values in cell.descriptors.items()}
    with atomic_path(file) as temporary:
        np.savez(temporary, made_from=np.array(json.dumps(cell.made_from, sort_keys=True)), **arrays)


def read(file: Path) -> Cell:
    """Reads a cell that `write` wrote."""
    with np.load(file, allow_pickle=False) as arrays:

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}

        return Cell(
            made_from=json.loads(str(arrays["made_from"])),
            index=arrays["index"],
            scores=part("scores/"),
            descriptors=part("descriptors/"),
            of_set={name: float(value) for name, value in part("of_set/").items()},
            failed=arrays["failed"],
            pictures=arrays["pictures"],
        )


def is_fresh(file: Path, made_from: dict[str, Any]) -> bool:
    """Whether the file holds a whole cell that was made from just this."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return json.loads(str(arrays["made_from"])) == json.loads(json.dumps(made_from))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none, of another kind, or damaged
        return False


def fingerprint(tree: Any) -> str:
    """Returns the first 16 hex digits of the SHA-256 over the names, shapes and bytes of a tree of arrays."""
    digest = hashlib.sha256()
    for where, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(where)} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
