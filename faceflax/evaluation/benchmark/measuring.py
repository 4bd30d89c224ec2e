"""Fills a benchmark's cells: the same degraded faces for every method, each cell written as soon as it is measured."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from faceflax.datasets import stream
from faceflax.degradations import Task
from faceflax.evaluation import baselines, judges, measure
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.judges.dlib_judge import DlibJudge
from faceflax.evaluation.judges.verification import FALSE_ACCEPTANCE_RATES
from faceflax.training.parallel import Parallel

DLIB = "dlib"  # the judge that works on the host


@dataclasses.dataclass(frozen=True)
class Degraded:
    """The faces under one task.

    Attributes:
      task: the degradation.
      batches: of `degraded` uint8 [B, S, S, 3] and `mask` uint8 [B, S, S, 1].
      fingerprint: of them all.
      known: what methods may be told of each image, by batch; empty where they are told the task alone.
    """

    task: Task
    batches: list[dict[str, np.ndarray]]
    fingerprint: str
    known: Sequence[Sequence[Any]] = ()


class Restored(NamedTuple):
    """A batch as a method restored it.

    Attributes:
      image: uint8 [B, S, S, 3].
      failed: [B], where the result was not finite.
      seconds: what the batch took; NaN where it was not timed.
    """

    image: np.ndarray
    failed: np.ndarray
    seconds: float = float("nan")


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


class Faces:
    """The clean faces, what the judges see in them, and the programs that degrade and score; compiled once each."""

    def __init__(self, source: Sequence, settings: ConfigDict, tasks: Sequence[Task], devices: Parallel):
        """Reads the images and describes them.

        Raises `UserError` when the split is empty, a judge cannot be fetched, or images are too small for one.
        """
        self._devices, self._tasks = devices, list(tasks)
        self._num_pictures = settings.eval.faces
        self.batches = list(
            stream.eval_stream(
                source,
                image_size=settings.data.image_size,
                batch_size=-(-settings.eval.batch_size // devices.num_devices) * devices.num_devices,
                max_images=settings.eval.max_images,
            )
        )
        self.fingerprint = cells.fingerprint([batch["image"] for batch in self.batches])
        self._real = np.concatenate([batch["weight"] for batch in self.batches]) > 0
        networks, self._dlib = load_judges(settings)
        self.judges = {name: cells.fingerprint(params) for name, params in networks.items()}
        self._networks = devices.replicate(networks)
        self._degrade = devices.compile_batched(measure.create_degrade(self._tasks))
        self._score = devices.compile_batched(measure.score_described)
        describe = devices.compile_batched(measure.describe)
        images = [devices.shard_batch({"image": batch["image"]}) for batch in self.batches]
        self._descriptions = [jax.device_get(describe(self._networks, image)) for image in images]
        if self._dlib:
            self.judges[DLIB] = self._dlib.version
            self._dlib_clean = self._dlib(self.real_rows([batch["image"] for batch in self.batches]))

    @property
    def num_images(self) -> int:
        """How many faces there are."""
        return int(self._real.sum())

    @property
    def index(self) -> np.ndarray:
        """The images' numbers in the split, [N]."""
        return self.real_rows([batch["index"] for batch in self.batches])

    def degrade(self, task: Task) -> Degraded:
        """Returns all faces under `task`."""
        number = np.int32(self._tasks.index(task))
        found = []
        for batch in self.batches:
            on_devices = self._devices.shard_batch({"image": batch["image"], "index": batch["index"]})
            found.append(jax.device_get(self._degrade(number, on_devices)))
        return Degraded(task, found, cells.fingerprint(found))

    def clean(self) -> Cell:
        """Returns the faces themselves as a cell, without scores: with what sets of restored ones are compared."""
        descriptors = {
            name: self.real_rows([description[name] for description in self._descriptions])
            for name in self._descriptions[0]
        }
        if self._dlib:
            descriptors["identity_dlib"] = self._dlib_clean
        pictures = self.real_rows([batch["image"] for batch in self.batches])[: self._num_pictures]
        made_from = {
            "format": cells.FORMAT,
            "clean": self.fingerprint,
            "judges": self.judges,
            "pictures": len(pictures),
        }
        return self._cell(made_from, {}, descriptors, np.zeros(self.num_images, bool), pictures)

    def score(self, degraded: Degraded, results: Sequence[Restored], made_from: dict) -> Cell:
        """Returns the cell of what a method made of the degraded faces; of a timed one with the `seconds` a face."""
        scored = []
        for batch, description, damaged, restored in zip(
            self.batches, self._descriptions, degraded.batches, results, strict=True
        ):
            whole = {"image": batch["image"], "mask": damaged["mask"], "candidate": restored.image}
            on_devices = self._devices.shard_batch(whole | {"description": description})
            scored.append(jax.device_get(self._score(self._networks, on_devices)))
        scores = {name: self.real_rows([part["scores"][name] for part in scored]) for name in scored[0]["scores"]}
        descriptors = {
            name: self.real_rows([part["descriptors"][name] for part in scored]) for name in scored[0]["descriptors"]
        }
        images = self.real_rows([restored.image for restored in results])
        if self._dlib:
            vectors = self._dlib(images)
            descriptors["identity_dlib"] = vectors
            scores["identity_dlib"] = (vectors * self._dlib_clean).sum(1)
        seconds = sum(restored.seconds for restored in results) / self.num_images
        failed = self.real_rows([restored.failed for restored in results])
        cell = self._cell(made_from, scores, descriptors, failed, images[: self._num_pictures])
        return dataclasses.replace(cell, of_set={} if np.isnan(seconds) else {"seconds": seconds})

    def _cell(self, made_from: dict, scores: dict, descriptors: dict, failed: np.ndarray, pictures: np.ndarray) -> Cell:
        return Cell(
            made_from=made_from,
            measured_by=cells.measurer(),
            index=self.index,
            scores={name: values.astype(np.float64) for name, values in scores.items()},
            descriptors={name: vectors.astype(np.float16) for name, vectors in descriptors.items()},
            of_set={},
            failed=failed,
            pictures=pictures,
        )

    def real_rows(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the batches' rows in one array, without those that are padding."""
        return np.concatenate(parts)[self._real]


def load_judges(settings: ConfigDict) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray] | None]:
    """Returns the networks of `settings.eval.judges`, and dlib's judge if it is among them.

    Raises `UserError` when one does not exist, cannot be fetched, or is not installed; it says how to go on without.
    """
    names = settings.eval.judges
    networks = judges.load([name for name in names if name != DLIB])
    return networks, DlibJudge() if DLIB in names else None


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

    `advance` is called with 1 for each cell that is there. Raises `UserError` when the disk does not take a cell.
    """
    clean = faces.clean()
    clean_file = workdir / "cells" / "clean.npz"
    if not cells.is_fresh(clean_file, clean.made_from):
        cells.write(clean_file, clean)
    fingerprints = {}
    for task in dict.fromkeys(task for method in methods for task in method.tasks):
        degraded = faces.degrade(task)
        fingerprints[str(task)] = degraded.fingerprint
        for method in methods:
            if task not in method.tasks:
                continue
            file = cells.path(workdir, method.name, task)
            made_from = clean.made_from | {
                "method": method.name,
                "task": str(task),
                "degraded": degraded.fingerprint,
                "made_from": method.made_from,
            }
            if not cells.is_fresh(file, made_from):
                cell = faces.score(degraded, method.restore(degraded), made_from)
                cells.write(file, _compare_sets(clean, cell))
            advance(1)
    return fingerprints


def _compare_sets(clean: Cell, restored: Cell) -> Cell:
    """Returns `restored` with the scores that need the whole set: `kid`, and what each identity judge accepts.

    The latter are 1 or 0 by image, as "tar_identity_0.01"; see `judges.verification`.
    """
    scores, of_set = dict(restored.scores), dict(restored.of_set)
    for name, vectors in restored.descriptors.items():
        if name == "kid":
            of_set["kid"] = judges.kid(clean.descriptors[name], vectors)
        else:
            for rate in FALSE_ACCEPTANCE_RATES:
                scores[f"tar_{name}_{rate:g}"] = judges.verification(clean.descriptors[name], vectors, rate)
    return dataclasses.replace(restored, scores=scores, of_set=of_set)
