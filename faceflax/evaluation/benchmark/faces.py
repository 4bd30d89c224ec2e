"""The faces that a benchmark measures on, degraded, and what the judges see in them and in what was made of them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from faceflax.datasets import stream
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import judges, measure
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.known import Known
from faceflax.evaluation.judges.dlib_judge import DlibJudge
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


class Faces:
    """The clean faces, what the judges see in them, and the programs that degrade and score.

    Judges are loaded and programs compiled once each, when they are first asked for.

    Attributes:
      batches: as `stream.eval_stream` yields them.
      fingerprint: of the clean faces.
      known: fingerprints of judges and degraded faces that need not be made again to be known.
    """

    def __init__(
        self, source: Sequence, settings: ConfigDict, tasks: Sequence[Task], devices: Parallel, label: str = ""
    ):
        """Reads the images; `label` is the examples' feature that says who is on one, see `_people`.

        Raises `UserError` when the split is empty, or its examples lack that feature.
        """
        self._settings, self._devices, self._tasks = settings, devices, list(tasks)
        self.known = Known({}, {})
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
        self.people = _people(source, self.index, label)

    @functools.cached_property
    def judges(self) -> dict[str, str]:
        """The judges' fingerprints by name; raises as `load_judges` where they are not known."""
        if self.known.judges:
            return self.known.judges
        networks, dlib = self._judges
        found = {name: cells.fingerprint(params) for name, params in networks.items()}
        return found | ({DLIB: dlib.version} if dlib else {})

    @functools.cached_property
    def _judges(self) -> tuple[dict[str, Any], DlibJudge | None]:
        return load_judges(self._settings)

    @functools.cached_property
    def _networks(self) -> Any:
        return self._devices.replicate(self._judges[0])

    @functools.cached_property
    def _degrade(self) -> Callable:
        return self._devices.compile_batched(measure.create_degrade(self._tasks))

    @functools.cached_property
    def _score(self) -> Callable:
        return self._devices.compile_batched(measure.score_described)

    @functools.cached_property
    def _descriptions(self) -> list[dict[str, Any]]:
        describe = self._devices.compile_batched(measure.describe)
        images = [self._devices.shard_batch({"image": batch["image"]}) for batch in self.batches]
        return [jax.device_get(describe(self._networks, image)) for image in images]

    @functools.cached_property
    def _dlib_clean(self) -> np.ndarray | None:
        dlib = self._judges[1]
        return dlib(self.real_rows([batch["image"] for batch in self.batches])) if dlib else None

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

    @property
    def made_from(self) -> dict[str, Any]:
        """What the cells of all methods and tasks have in common."""
        made_from = {
            "format": cells.FORMAT,
            "clean": self.fingerprint,
            "judges": self.judges,
            "pictures": min(self._settings.eval.faces, self.num_images),
        }
        return made_from if self.people is None else made_from | {"people": cells.fingerprint(self.people)}

    @functools.cached_property
    def clean(self) -> Cell:
        """The faces themselves as a cell, without scores: with what sets of restored ones are compared.

        Raises `UserError` when a judge cannot be had, or the images are too small for one.
        """
        descriptors = {
            name: self.real_rows([description[name] for description in self._descriptions])
            for name in self._descriptions[0]
        }
        if self._dlib_clean is not None:
            descriptors["identity_dlib"] = self._dlib_clean
        images = self.real_rows([batch["image"] for batch in self.batches])
        return self._cell(self.made_from, {}, descriptors, np.zeros(self.num_images, bool), images)

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
        if self._dlib_clean is not None:
            vectors = self._judges[1](images)
            descriptors["identity_dlib"] = vectors
            scores["identity_dlib"] = (vectors * self._dlib_clean).sum(1)
        seconds = sum(restored.seconds for restored in results) / self.num_images
        failed = self.real_rows([restored.failed for restored in results])
        cell = self._cell(made_from, scores, descriptors, failed, images)
        return dataclasses.replace(cell, of_set={} if np.isnan(seconds) else {"seconds": seconds})

    def _cell(self, made_from: dict, scores: dict, descriptors: dict, failed: np.ndarray, images: np.ndarray) -> Cell:
        return Cell(
            made_from=made_from,
            measured_by=cells.measurer(),
            index=self.index,
            scores={name: values.astype(np.float64) for name, values in scores.items()},
            descriptors={name: vectors.astype(np.float16) for name, vectors in descriptors.items()},
            of_set={},
            failed=failed,
            pictures=images[: self._settings.eval.faces],
        )

    def real_rows(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the batches' rows in one array, without those that are padding."""
        return np.concatenate(parts)[self._real]


def _people(source: Sequence, numbers: np.ndarray, label: str) -> np.ndarray | None:
    """Returns who is on the images of these numbers, by the feature `label`, or "identity" where the examples have it.

    None where each shows another person, or nothing says otherwise.
    """
    if label:
        stream.check_features(source[0], {"person": label})
    feature = label or "identity"
    if feature not in source[0]:
        return None
    people = np.array([source[int(number)][feature] for number in numbers])
    return people if len(set(people.tolist())) < len(people) else None


def load_judges(settings: ConfigDict) -> tuple[dict[str, Any], DlibJudge | None]:
    """Returns the networks of `settings.eval.judges`, and dlib's judge if it is among them.

    Raises `UserError` when one does not exist, cannot be fetched, or is not installed; it says how to go on without.
    """
    names = settings.eval.judges
    others = [name for name in names if name != DLIB]
    networks = judges.load(others)
    try:
        return networks, DlibJudge() if DLIB in names else None
    except UserError as error:
        chosen = "".join(f"'{name}'," for name in others)
        raise UserError(f'{error}, or evaluate without it: --config.eval.judges="({chosen})"') from error
