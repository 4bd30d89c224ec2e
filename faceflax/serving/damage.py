"""A degradation of one's own choice, put on a photograph."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from faceflax.degradations import tasks
from faceflax.degradations.tasks import Task
from faceflax.preprocessing.images import Photograph
from faceflax.restoration import aligned, networks
from faceflax.training import parallel

SIDES = (64, 128, 256, 512)
"""The sides of damaged pictures, in pixels: few, as JAX compiles for each."""


def parse(name: str, severity: str) -> Task:
    """Returns the task that the page's words name; raises `UserError` when there is none."""
    return tasks.flatten([f"{name} {severity}"])[0]


def damage(photograph: Photograph, task: Task, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Brings a photograph to `side` pixels on its longer side, and degrades it.

    Args:
      photograph: what is damaged; its transparency is left out.
      task: how.
      side: one of `SIDES`.
      seed: of what the task draws, 0 to 2^32 - 1.

    Returns:
      the damaged picture, uint8 RGB [h, w, 3], and bool [h, w], its missing pixels.
    """
    crop = aligned.prepare(photograph, None, side)  # a square, mirrored at the borders
    result = _create_runner(task.name)(
        {
            "image": crop.image[None],
            "severity": np.full((1, 1, 1, 1), task.severity, np.float32),
            "seed": np.full((1, 1, 1, 1), seed, np.uint32),
        }
    )[0][crop.window]
    pixels = np.round(np.clip(result[..., :3], 0, 1) * 255).astype(np.uint8)
    return pixels, result[..., 3] > 0


@functools.cache
def _create_runner(name: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    function = tasks.FUNCTIONS[name]

    def one(image: Array, seed: Array, severity: Array) -> Array:
        degraded, mask = function(jax.random.key(seed[0, 0, 0], impl="threefry2x32"), image, severity[0, 0, 0])
        return jnp.concatenate([degraded, mask], axis=-1)

    def run(params: Any, batch: dict[str, Array]) -> Array:
        return jax.vmap(one)(batch["image"], batch["seed"], batch["severity"])

    return networks.create_runner(run, (), parallel.create({"data": -1, "fsdp": 1}), 1)
