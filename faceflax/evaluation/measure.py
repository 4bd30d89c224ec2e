"""What is computed on the devices for one batch: degrade, restore, score. Pure functions.

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
from faceflax.evaluation import judges
from faceflax.models.discriminator import Discriminator, discriminate

Restore = Callable[[Any, Array, Array], Array]
Scores = dict[str, Array]

DESCRIPTORS = ("identity", "kid")
"""The judges that see a vector in an image, by which sets of images are compared."""


def create_step(restore: Restore, tasks: Sequence[Task]) -> Callable[[tuple[Any, Array], dict[str, Array]], dict]:
    """Returns `step((params, number), batch)`: `batch` under `tasks[number]`, one program for all tasks.

    Args:
      restore: `(params, degraded [B, H, W, 3] in [0, 1], mask [B, H, W, 1]) -> restored [B, H, W, 3]`.
      tasks: the degradations that `number` chooses from.

    The step takes `image` uint8 [B, H, W, 3], `index` and `weight` [B]. It returns `numbers`: these two, `failed` [B]
    where the model's output was not finite, and `scores`, by method ("input", "model") as `score` gives them; and
    `pictures`: `clean`, `input`, `model` uint8 [B, H, W, 3] and `mask` uint8 [B, H, W, 1], 1 where pixels are missing.
    """
    degrade, run = create_degrade(tasks), create_restore(restore)

    def step(params_and_number: tuple[Any, Array], batch: dict[str, Array]) -> dict[str, Any]:
        params, number = params_and_number
        damaged = degrade(number, batch)
        made = run(params, damaged)
        image, degraded, mask = batch["image"], damaged["degraded"], damaged["mask"]
        scores = {"input": score(image, degraded, mask), "model": score(image, made["restored"], mask)}
        numbers = {"index": batch["index"], "weight": batch["weight"], "failed": made["failed"], "scores": scores}
        return {
            "numbers": numbers,
            "pictures": {"clean": image, "mask": mask, "input": degraded, "model": made["restored"]},
        }

    return step


def create_degrade(tasks: Sequence[Task]) -> Callable[[Array, dict[str, Array]], dict[str, Array]]:
    """Returns `degrade(number, batch)`: `batch` under `tasks[number]`, one program for all tasks.

    It takes `image` uint8 [B, H, W, 3] and `index` [B]; it returns `degraded` uint8 [B, H, W, 3] and `mask` uint8
    [B, H, W, 1], 1 where pixels are missing.
    """
    branches = [lambda image, index, task=task: degrade_for_evaluation(image, index, task) for task in tasks]

    def degrade(number: Array, batch: dict[str, Array]) -> dict[str, Array]:
        degraded, mask = lax.switch(number, branches, to_float(batch["image"]), batch["index"])
        return {"degraded": to_uint8(degraded), "mask": mask.astype(jnp.uint8)}

    return degrade


def create_restore(restore: Restore) -> Callable[[Any, dict[str, Array]], dict[str, Array]]:
    """Returns `run(params, damaged)`, where `damaged` is what `create_degrade` returns and `restore` a network.

    It returns `restored` uint8 [B, H, W, 3], with pixels that are not finite black, and `failed` [B]: where there were
    such pixels.
    """

    def run(params: Any, damaged: dict[str, Array]) -> dict[str, Array]:
        restored = restore(params, to_float(damaged["degraded"]), damaged["mask"].astype(jnp.float32))
        failed = ~jnp.all(jnp.isfinite(restored), axis=(1, 2, 3))
        return {"restored": to_uint8(jnp.where(jnp.isfinite(restored), restored, 0.0)), "failed": failed}

    return run


def create_discriminate(discriminator: Discriminator) -> Callable[[Any, dict[str, Array]], Array]:
    """Returns `run(variables, batch)`: the probability [B] that each image is real, by a GAN's discriminator.

    The batch holds `image`, which is judged, and `degraded` and `mask`, by which; all uint8.
    """

    def run(variables: Any, batch: dict[str, Array]) -> Array:
        mask = batch["mask"].astype(jnp.float32)
        return discriminate(discriminator, variables, to_float(batch["image"]), to_float(batch["degraded"]), mask)

    return run


def score(clean: Array, candidate: Array, mask: Array) -> Scores:
    """Returns each image's metrics [B]: `psnr`, `ssim`, and of images with missing pixels `hole_psnr`, `known_psnr`.

    `clean` and `candidate` are uint8 [B, H, W, 3], `mask` [B, H, W, 1] is 1 where pixels are missing. The two last are
    NaN for images without a hole, `known_psnr` also for those that are all hole.
    """
    clean, candidate, mask = to_float(clean), to_float(candidate), jnp.asarray(mask, jnp.float32)
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


def describe(networks: dict[str, Any], batch: dict[str, Array]) -> dict[str, Array]:
    """What those of the judges' `networks` that see a vector [B, D] in an image see in the batch's clean ones."""
    networks = {name: params for name, params in networks.items() if name in DESCRIPTORS}
    return judges.describe(networks, to_float(batch["image"]))


def score_described(networks: Any, batch: dict[str, Any]) -> dict[str, Scores]:
    """Scores `candidate` uint8 [B, H, W, 3] against `image` under `mask`, whose `description` is known (`describe`).

    What is no vector is seen in the clean images anew: perceptual features are 40 times the size of the image.
    Returns `scores`, those of `score` and those that the judges give to each image, and `descriptors` [B, D]: what
    the judges see in the candidates, where sets of images are compared by it.
    """
    others = {name: params for name, params in networks.items() if name not in DESCRIPTORS}
    clean = batch["description"] | judges.describe(others, to_float(batch["image"]))
    seen = judges.describe(networks, to_float(batch["candidate"]))
    scores = score(batch["image"], batch["candidate"], batch["mask"]) | judges.compare(clean, seen)
    return {"scores": scores, "descriptors": {name: seen[name] for name in DESCRIPTORS if name in seen}}


def to_float(image: Array) -> Array:
    """Returns a uint8 image in [0, 1]."""
    return image.astype(jnp.float32) / 255


def to_uint8(image: Array) -> Array:
    """Returns an image in [0, 1] rounded to 8 bits; what lies outside is clipped."""
    return jnp.round(jnp.clip(image, 0.0, 1.0) * 255).astype(jnp.uint8)
