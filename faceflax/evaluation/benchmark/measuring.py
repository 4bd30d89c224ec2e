"""Fills a benchmark's cells: the same degraded faces for every method, each cell written as soon as it is measured."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation import baselines, judges
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.faces import Degraded, Faces, Restored
from faceflax.evaluation.judges.verification import FALSE_ACCEPTANCE_RATES
from faceflax.training.parallel import Parallel


@dataclasses.dataclass(frozen=True)
class Method:
    """A way of restoring faces.

    Attributes:
      name: of its cells' folder.
      made_from: what decides its results, as JSON knows it.
      restore: gives for each batch of the degraded faces the restored ones.
      tasks: what it is measured on.
    """

    name: str
    made_from: dict[str, Any]
    restore: Callable[[Degraded], list[Restored]]
    tasks: Sequence[Task]


def untouched(tasks: Sequence[Task]) -> Method:
    """The degraded input itself."""

    def restore(degraded: Degraded) -> list[Restored]:
        return [Restored(damaged["degraded"], np.zeros(len(damaged["mask"]), bool)) for damaged in degraded.batches]

    return Method("input", {}, restore, tasks)


def classical(tasks: Sequence[Task]) -> Method:
    """The classical method of each task (`faceflax.evaluation.baselines`), in threads of the host."""

    def restore(degraded: Degraded) -> list[Restored]:
        task = degraded.task
        method = functools.partial(baselines.BASELINES[task.name].restore, severity=task.severity)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [
                Restored(
                    np.stack(list(pool.map(method, damaged["degraded"], damaged["mask"][..., 0]))),
                    np.zeros(len(damaged["mask"]), bool),
                )
                for damaged in degraded.batches
            ]

    written = hashlib.sha256(Path(baselines.__file__).read_bytes()).hexdigest()[:16]
    return Method("classical", {"source": written, "opencv": cv2.__version__}, restore, tasks)


def network(
    name: str, made_from: dict[str, Any], restore: Callable, params: Any, devices: Parallel, tasks: Sequence[Task]
) -> Method:
    """A trained network: `restore(params, damaged)` is compiled, `params` are host arrays."""

    def run(degraded: Degraded) -> list[Restored]:
        placed = devices.replicate(params)
        made = [jax.device_get(restore(placed, devices.shard_batch(damaged))) for damaged in degraded.batches]
        return [Restored(batch["restored"], batch["failed"]) for batch in made]

    return Method(name, made_from | {"params": cells.fingerprint(params)}, run, tasks)


def fill(
    workdir: Path, faces: Faces, methods: Sequence[Method], advance: Callable[[int], None] = lambda count: None
) -> dict[str, str]:
    """Measures every cell that is missing or stale; returns the fingerprints of the degraded faces, by task.

    Faces are degraded where a cell of the task is to be measured, or `faces.known` lacks their fingerprint. `advance`
    is called with 1 for each cell that is there. Raises `UserError` when a judge cannot be had, or the disk does not
    take a cell.
    """
    clean_file = workdir / "cells" / "clean.npz"
    if not cells.is_fresh(clean_file, faces.made_from):
        cells.write(clean_file, faces.clean)
    fingerprints = {}
    for task in dict.fromkeys(task for method in methods for task in method.tasks):
        concerned, fingerprint = [each for each in methods if task in each.tasks], faces.known.degraded.get(str(task))
        if fingerprint is None or _stale(workdir, faces, concerned, task, fingerprint):
            degraded = faces.degrade(task)
            fingerprint = degraded.fingerprint
            for method, made_from in _stale(workdir, faces, concerned, task, fingerprint):
                cell = faces.score(degraded, method.restore(degraded), made_from)
                cells.write(cells.path(workdir, method.name, task), _compare_sets(faces.clean, cell, faces.people))
                advance(1)
                concerned.remove(method)
        fingerprints[str(task)] = fingerprint
        advance(len(concerned))
    return fingerprints


def _stale(
    workdir: Path, faces: Faces, methods: Sequence[Method], task: Task, degraded: str
) -> list[tuple[Method, dict[str, Any]]]:
    """The methods whose cell of the task is missing or stale, and what it is to be made from."""
    found = []
    for method in methods:
        of_cell = {"method": method.name, "task": str(task), "degraded": degraded, "made_from": method.made_from}
        made_from = faces.made_from | of_cell
        if not cells.is_fresh(cells.path(workdir, method.name, task), made_from):
            found.append((method, made_from))
    return found


def _compare_sets(clean: Cell, restored: Cell, people: np.ndarray | None) -> Cell:
    """Returns `restored` with the scores that need the whole set: `kid`, and what each identity judge accepts.

    The latter are 1 or 0 by image, as "tar_identity_0.01"; see `judges.verification`, also for `people`.
    """
    scores, of_set = dict(restored.scores), dict(restored.of_set)
    for name, vectors in restored.descriptors.items():
        if name == "kid":
            of_set["kid"] = judges.kid(clean.descriptors[name], vectors)
        else:
            for rate in FALSE_ACCEPTANCE_RATES:
                scores[f"tar_{name}_{rate:g}"] = judges.verification(clean.descriptors[name], vectors, rate, people)
    return dataclasses.replace(restored, scores=scores, of_set=of_set)
