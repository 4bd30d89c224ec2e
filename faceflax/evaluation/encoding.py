"""The evaluation that a face encoder's training asks for now and then: does it know a face in another frame again?"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from faceflax.datasets import stream
from faceflax.degradations import Task, degrade_for_evaluation, flatten
from faceflax.errors import UserError
from faceflax.evaluation import batches
from faceflax.evaluation.judges import verification
from faceflax.models.face_encoder import compact
from faceflax.training import parallel, views

_FAR = 1e-2
_SHOWN = 8  # faces in a row of the picture
_SEED = 20261


def create(source: Sequence, config: ConfigDict) -> Callable[[Any], tuple[dict[str, float], np.ndarray]]:
    """Returns `validate(params) -> (metrics, picture)` on `config.eval.tasks` and the images of `source`.

    `params` are those of the encoder arm. Every clean image is enrolled; looked for are the same images damaged by each
    task, and not damaged, each in a window and light of its own, the same at every call. `rank1` is how often the own
    image is the nearest, `tar` the true acceptance rate at a false one of 1e-2 (see `judges.verification`; left out
    where the images are too few to tell so low a rate from 0), each the mean over tasks; and each by task. Other images
    of the same person are not compared: who is on one says its feature `config.data.label`; where that is empty, no two
    may show one person. The picture is uint8 RGB [H, W, 3], a row of what was looked for under each task. Raises
    `UserError` for an unknown task, for a label that the examples lack or that is no number, and where all images show
    one person, so that nobody can be mistaken for another.
    """
    _check_people(source, config)
    devices = parallel.create(config.parallel.mesh)
    tasks = (None, *flatten(config.eval.tasks))
    enrol = devices.compile_batched(_enrol)
    search = {task: devices.compile_batched(_create_search(task, config.encoder.size)) for task in tasks}

    def validate(params: Any) -> tuple[dict[str, float], np.ndarray]:
        gallery, probes, rows, numbers = [], {task: [] for task in tasks}, {}, []
        for batch in batches.of_split(source, config, devices):
            on_devices, real = devices.shard_batch(batch), batch["weight"] > 0
            numbers += batch["index"][real].tolist()
            gallery.append(jax.device_get(enrol(params["network"], on_devices))[real])
            for task in tasks:
                vectors, picture = jax.device_get(search[task](params["network"], on_devices))
                probes[task].append(vectors[real])
                rows.setdefault(task, np.hstack(picture[:_SHOWN]))
        known, person, metrics = np.concatenate(gallery), _people(source, numbers, config.data.label), {}
        for task in tasks:
            sought = np.concatenate(probes[task])
            metrics[f"rank1 {task or 'clean'}"] = float(
                np.mean(_nearest(sought, known, person) == np.arange(len(known)))
            )
            accepted = verification(known, sought, _FAR, person)
            if not np.isnan(accepted).any():
                metrics[f"tar {task or 'clean'}"] = float(accepted.mean())
        means = {}
        for name in ("rank1", "tar"):
            values = [value for metric, value in metrics.items() if metric.startswith(f"{name} ")]
            means |= {name: float(np.mean(values))} if values else {}
        return means | metrics, np.vstack([rows[task] for task in tasks])

    return validate


def _check_people(source: Sequence, config: ConfigDict) -> None:
    count = stream.num_images(source, config.eval.max_images)
    if count and config.data.label:
        stream.check_features(source[0], {"label": config.data.label})
    if len(set(_people(source, range(count), config.data.label).tolist())) < 2:
        raise UserError(
            f"config.data.eval_split {config.data.eval_split!r} shows fewer than two people, so that nobody can be "
            "mistaken for another: put photographs of several people into it (of a folder, those below validation/)"
        )


def _people(source: Sequence, numbers: Sequence[int], label: str) -> np.ndarray:
    """Who is on the images of these numbers; without a label each shows another person."""
    return np.array([source[number][label] if label else number for number in numbers])


def _nearest(sought: np.ndarray, known: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The nearest of `known` [N, D] to each of `sought` [N, D], other images of the same person aside."""
    is_other_image = (person[:, None] == person) & ~np.eye(len(person), dtype=bool)
    return np.where(is_other_image, -np.inf, sought @ known.T).argmax(1)


def _enrol(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    return compact.embed(params, batch["image"].astype(jnp.float32) / 255)


def _create_search(task: Task | None, size: int) -> Callable:
    def search(params: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        image = batch["image"].astype(jnp.float32) / 255
        if task is not None:
            image, _ = degrade_for_evaluation(image, batch["index"], task)
        seen = views.view(jax.random.key(_SEED, impl="threefry2x32"), image, batch["index"], size)
        return compact.embed(params, seen), jnp.round(seen * 255).astype(jnp.uint8)

    return search
