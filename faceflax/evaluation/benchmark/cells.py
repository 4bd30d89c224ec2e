"""The cells of a benchmark: what one method made of one task, in a file each.

A cell says what it was made from; when any of that changes, it is stale and is measured again.
"""

import dataclasses
import functools
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from faceflax.degradations import Task
from faceflax.files import atomic_path
from faceflax.training import workdir as workdir_lib

FORMAT = 2  # of the file, and of what is measured: raise it when either changes


@dataclasses.dataclass(frozen=True)
class Cell:
    """N images of one task, as one method restored them.

    Attributes:
      made_from: what decides the numbers, as JSON knows it: fingerprints, checkpoint, judges.
      measured_by: `measurer()` of the process that measured it; another one makes no cell stale.
      index: [N] numbers of the images in the split, ascending.
      scores: float64 [N] by metric; NaN where a metric is not defined.
      descriptors: float16 [N, D] by judge ("kid", "identity", "identity_dlib"): what sets of images are compared by.
      of_set: scores of the N images as a set, by name ("kid").
      failed: [N], where the method's result was not finite.
      pictures: uint8 [K, S, S, 3], the first K results.
    """

    made_from: dict[str, Any]
    measured_by: dict[str, str]
    index: np.ndarray
    scores: dict[str, np.ndarray]
    descriptors: Mapping[str, np.ndarray]
    of_set: dict[str, float]
    failed: np.ndarray
    pictures: np.ndarray


@functools.cache
def measurer() -> dict[str, str]:
    """What measures here: the commit of the checkout and the version of JAX, by name."""
    made = workdir_lib.provenance()
    return {"commit": made["commit"], "jax": made["versions"]["jax"]}


def path(workdir: Path, method: str, task: Task) -> Path:
    """Where the cell of `method` ("input", "gan-0") and `task` lies."""
    return workdir / "cells" / method / f"{task.name}_{task.severity:g}.npz"


def write(file: Path, cell: Cell) -> None:
    """Writes the cell, whole or not at all; raises `UserError` when the disk does not take it."""
    arrays = {"index": cell.index, "failed": cell.failed, "pictures": cell.pictures}
    arrays |= {f"of_set/{name}": np.float64(value) for name, value in cell.of_set.items()}
    arrays |= {f"scores/{name}": values for name, values in cell.scores.items()}
    arrays |= {f"descriptors/{name}": values for name, values in cell.descriptors.items()}
    for name in ("made_from", "measured_by"):
        arrays[name] = np.array(json.dumps(getattr(cell, name), sort_keys=True))
    with atomic_path(file) as temporary:
        np.savez(temporary, **arrays)


def read(file: Path) -> Cell:
    """Reads a cell that `write` wrote; its descriptors, which are most of it, are read when they are asked for."""
    with np.load(file, allow_pickle=False) as arrays:

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}

        return Cell(
            made_from=json.loads(str(arrays["made_from"])),
            measured_by=json.loads(str(arrays["measured_by"])),
            index=arrays["index"],
            scores=part("scores/"),
            descriptors=_Descriptors(file),
            of_set={name: float(value) for name, value in part("of_set/").items()},
            failed=arrays["failed"],
            pictures=arrays["pictures"],
        )


class _Descriptors(Mapping):
    """The descriptors of the cell in a file, read anew each time: those of all cells together are too large."""

    _PREFIX = "descriptors/"

    def __init__(self, file: Path):
        self._file = file

    def __getitem__(self, name: str) -> np.ndarray:
        with np.load(self._file, allow_pickle=False) as arrays:
            return arrays[self._PREFIX + name]

    def __iter__(self) -> Iterator[str]:
        with np.load(self._file, allow_pickle=False) as arrays:
            names = arrays.files
        return (name.removeprefix(self._PREFIX) for name in names if name.startswith(self._PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_fresh(file: Path, made_from: dict[str, Any]) -> bool:
    """Whether the file holds a whole cell that was made from just this, with so many `pictures` or more."""
    wanted = json.loads(json.dumps(made_from))
    try:
        with np.load(file, allow_pickle=False) as arrays:
            known = json.loads(str(arrays["made_from"]))
            enough = known.pop("pictures", 0) >= wanted.pop("pictures", 0)
            return enough and known == wanted
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
