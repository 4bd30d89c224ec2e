"""What is computed on the devices for one batch and one task: degrade, restore, score. Pure functions.

A picture is judged as the file that a user would have: degraded images are rounded to 8 bits before any method sees
them, and results before they are scored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from faceflax import metrics
from faceflax.degradations import Task, degrade_for_evaluation

Restore = Callable[[Any, Array, Array], Array]
Scores = dict[str, Array]


def create_step(restore: Restore, tasks: Sequence[Task]) -> Callable[[tuple[Any, Array], dict[str, Array]], dict]:
    """Returns `step((params, number), batch)`: `batch` under `tasks[number]`, one program for all tasks.

    Args:
      restore: `(params, degraded [B, H, W, 3] in [0, 1], mask [B, H, W, 1]) -> restored [B, H, W, 3]`.
      tasks: the degradations that `number` chooses from.

    The step takes `image` uint8 [B, H, W, 3], `index` and `weight` [B]. It returns `numbers`: these two, `failed` [B]
    where the model's output was not finite, and `scores`, by method ("input", "model") as `score` gives them; and
    `pictures`: `clean`, `input`, `model` uint8 [B, H, W, 3] and `mask` uint8 [B, H, W, 1], 1 where pixels are missing.
    """

    def step(params_and_number: tuple[Any, Array], batch: dict[str, Array]) -> dict[str, Any]:
        params, number = params_and_number
        clean = _to_float(batch["image"])
        branches = [lambda image, index, task=task: degrade_for_evaluation(image, index, task) for task in tasks]
        degraded, mask = lax.switch(number, branches, clean, batch["index"])
        degraded = _to_uint8(degraded)
        restored = restore(params, _to_float(degraded), mask)
        failed = ~jnp.all(jnp.isfinite(restored), axis=(1, 2, 3))
        restored = _to_uint8(jnp.where(jnp.isfinite(restored), restored, 0.0))
        image = batch["image"]
        scores = {"input": score(image, degraded, mask), "model": score(image, restored, mask)}
        return {
            "numbers": {"index": batch["index"], "weight": batch["weight"], "failed": failed, "scores": scores},
            "pictures": {"clean": image, "mask": mask.astype(jnp.uint8), "input": degraded, "model": restored},
        }

    return step


def score(clean: Array, candidate: Array, mask: Array) -> Scores:
    """Returns each image's metrics [B]: `psnr`, `ssim`, and of images with missing pixels `hole_psnr`, `known_psnr`.

    `clean` and `candidate` are uint8 [B, H, W, 3], `mask` [B, H, W, 1] is 1 where pixels are missing. The two last are
    NaN for images without a hole, `known_psnr` also for those that are all hole.
    """
    clean, candidate, mask = _to_float(clean), _to_float(candidate), jnp.asarray(mask, jnp.float32)
    hole, known = metrics.has_pixels(mask) > 0, metrics.has_pixels(1 - mask) > 0
    return {
        "psnr": metrics.psnr(candidate, clean),
        "ssim": metrics.ssim(candidate, clean),
        "hole_psnr": jnp.where(hole, metrics.masked_psnr(candidate, clean, mask), jnp.nan),
        "known_psnr": jnp.where(hole & known, metrics.masked_psnr(candidate, clean, 1 - mask), jnp.nan),
    }


def score_candidate(candidate_and_mask: tuple[Array, Array], batch: dict[str, jax.Array]) -> Scores:
    """`score` of what was made on the host, against the batch on the devices."""
    return score(batch["image"], *candidate_and_mask)


def _to_float(image: Array) -> Array:
    return image.astype(jnp.float32) / 255


def _to_uint8(image: Array) -> Array:
    return jnp.round(jnp.clip(image, 0.0, 1.0) * 255).astype(jnp.uint8)
