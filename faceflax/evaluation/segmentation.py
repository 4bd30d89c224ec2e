"""The evaluation of a network that finds what covers a face: pixels found, missed and taken for a cover."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from faceflax import metrics, models
from faceflax.degradations import OCCLUDING, Task, degrade_for_evaluation, flatten
from faceflax.evaluation import batches
from faceflax.training import parallel

_SHOWN = 6  # faces in a row of the picture


def create(source: Sequence, config: ConfigDict) -> Callable[[Any], tuple[dict[str, float], np.ndarray]]:
    """Returns `validate(params) -> (metrics, picture)` on `config.eval.tasks` and the images of `source`.

    Metrics count pixels over all images, as `score` does: `iou` over all tasks and the bare faces together, `iou TASK`
    for each that covers faces, `false_positives TASK` for each that does not, and `false_positives bare`. The picture
    is uint8 RGB [H, W, 3]: faces, and below them what was found tinted red. Raises `UserError` for an unknown task.
    """
    devices = parallel.create(config.parallel.mesh)
    segment = models.create_segmenter(config.model).apply
    tasks = (None, *flatten(config.eval.tasks))
    steps = {task: devices.compile_batched(_create_step(segment, task)) for task in tasks}

    def validate(params: Any) -> tuple[dict[str, float], np.ndarray]:
        sums, rows = {}, {}
        for batch in batches.of_split(source, config, devices):
            on_devices = devices.shard_batch(batch)
            for task, step in steps.items():
                counts, picture = jax.device_get(step(params, on_devices))
                sums = metrics.merge(sums, counts)
                rows.setdefault(task, np.hstack(picture[:_SHOWN]))
        return metrics.compute(sums), np.vstack(list(rows.values()))

    return validate


def score(logits: jax.Array, mask: jax.Array, weight: jax.Array, task: Task | None) -> metrics.Sums:
    """Returns the pixel counts of a batch under `task` (None: bare faces), as `create` names them.

    `logits` and `mask` are [B, H, W, 1]; images of `weight` [B] 0 have no part.
    """
    counts = weight[:, None, None, None] > 0
    found, covered = (logits > 0) & counts, (mask > 0) & counts
    total = lambda pixels: jnp.sum(pixels.astype(jnp.float32))  # noqa: E731
    iou = (total(found & covered), total(found | covered))
    if task is not None and task.name in OCCLUDING:
        return {"iou": iou, f"iou {task}": iou}
    share = (total(found), total(jnp.broadcast_to(counts, found.shape)))
    return {"iou": iou, f"false_positives {task or 'bare'}": share}


def _create_step(segment: Callable, task: Task | None) -> Callable:
    def step(params: Any, batch: dict[str, jax.Array]) -> tuple[metrics.Sums, jax.Array]:
        image = batch["image"].astype(jnp.float32) / 255
        mask = jnp.zeros_like(image[..., :1])
        if task is not None:
            image, mask = degrade_for_evaluation(image, batch["index"], task)
        logits = segment(params, image)
        tinted = jnp.where(logits > 0, 0.5 * image + 0.5 * jnp.array([1.0, 0.0, 0.0]), image)
        picture = jnp.round(jnp.concatenate([image, tinted], axis=1) * 255).astype(jnp.uint8)
        return score(logits, mask, batch["weight"], task), picture

    return step
