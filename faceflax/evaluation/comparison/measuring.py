"""Fills a comparison's cells: each method on each task, one face at a time, timed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from faceflax import models
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import measure
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.faces import Degraded, Faces, Restored
from faceflax.evaluation.benchmark.measuring import Method
from faceflax.evaluation.comparison import damage
from faceflax.evaluation.comparison.classical import Restore
from faceflax.evaluation.comparison.damage import Known
from faceflax.evaluation.comparison.methods import Alternative
from faceflax.models import shipped
from faceflax.training import parallel
from faceflax.training import trained as trained_lib


class DamagedFaces(Faces):
    """Faces under the damage of `comparison.damage`, in place of the project's own."""

    def degrade(self, task: Task) -> Degraded:
        """Returns all faces under `task`."""
        batches, known = [], []
        for batch in self.batches:
            made = [damage.apply(image, task, int(i)) for image, i in zip(batch["image"], batch["index"], strict=True)]
            degraded = np.stack([one.image for one in made])
            batches.append({"degraded": degraded, "mask": np.stack([one.mask for one in made])[..., None]})
            known.append([one.known for one in made])
        return Degraded(task, batches, cells.fingerprint(batches), known)


class Ours(NamedTuple):
    """A restorer of this project: what decides its results, its function, and what it takes as a file."""

    made_from: dict[str, Any]
    restore: Restore
    megabytes: float


def load_ours(named: Sequence[str], taken: Sequence[str], size: int) -> dict[str, Ours]:
    """Returns restorers by name; `named` and `taken` are as `training.trained.load_restorers` takes them.

    Raises `UserError` when one cannot be read, or was trained at another size than `size` pixels.
    """
    loaded = {}
    for name, trained in trained_lib.load_restorers(named, taken).items():
        if trained.config.data.image_size != size:
            raise UserError(
                f'the restorer "{name}" was trained at {trained.config.data.image_size} pixels; '
                f"add --config.data.image_size={trained.config.data.image_size}"
            )
        made_from = {
            "step": trained.info["step"],
            "arm": trained.config.arm,
            "params": cells.fingerprint(trained.params),
        }
        loaded[name] = Ours(made_from, network(trained), _megabytes(name, trained))
    return loaded


def network(trained: trained_lib.Trained) -> Restore:
    """Returns the restorer as a function of one face, on one device."""
    device, apply = parallel.one_device(), models.create(trained.config.model).apply
    params = device.replicate(trained.params)

    def run(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        return 255 * apply(params, measure.to_float(batch["image"]), batch["mask"].astype(jnp.float32))

    compiled = device.compile_batched(run)

    def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
        return np.asarray(compiled(params, {"image": image[None], "mask": mask[None, ..., None]}))[0]

    return restore


def _megabytes(name: str, trained: trained_lib.Trained) -> float:
    """Of what ships, or what its parameters would take in one: two bytes each."""
    if name in shipped.names():
        return shipped.size(name) / 1e6
    return 2e-6 * sum(leaf.size for leaf in jax.tree.leaves(trained.params))


def method(name: str, made_from: Mapping[str, Any], restore: Restore, tasks: Sequence[Task]) -> Method:
    """Returns `restore` as a method that restores one face after another, and is timed after a first one."""

    def run(degraded: Degraded) -> list[Restored]:
        _warm_up(degraded, restore)
        return [_restore(restore, *each) for each in zip(degraded.batches, degraded.known, strict=True)]

    return Method(name, dict(made_from), run, tasks)


def _restore(restore: Restore, batch: Mapping[str, np.ndarray], known: Sequence[Known]) -> Restored:
    start = time.perf_counter()
    made = [restore(*each) for each in zip(batch["degraded"], batch["mask"][..., 0], known, strict=True)]
    seconds, made = time.perf_counter() - start, np.stack(made)
    failed = ~np.isfinite(made).all(axis=(1, 2, 3))
    return Restored(damage.to_uint8(np.nan_to_num(made, nan=0.0, posinf=0.0, neginf=0.0)), failed, seconds)


def _warm_up(degraded: Degraded, restore: Restore) -> None:
    """Restores the first face: programs are compiled and files read at the first call."""
    first = degraded.batches[0]
    restore(first["degraded"][0], first["mask"][0, ..., 0], degraded.known[0][0])


def alternative(name: str, found: Alternative, mean: np.ndarray, tasks: Sequence[Task]) -> Method:
    """Returns an installed alternative as a method; it is loaded when a cell of it is missing.

    `mean` is the training faces' [S, S, 3]. The method raises `UserError` where its weights cannot be fetched.
    """
    loaded: list[Restore] = []

    def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
        if not loaded:
            loaded.append(found.load(mean))
        return loaded[0](image, mask, known)

    return method(name, found.made_from, restore, [task for task in tasks if task.name in found.tasks])
