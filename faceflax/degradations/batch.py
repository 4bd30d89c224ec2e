"""Degrading a batch: a random task and severity for each image in training, one task in evaluation.

What happens to an image depends on the key and its index alone, never on its neighbours or the batch's size. So the
functions may be applied to any part of a batch, such as a device's share under `shard_map` (with `check_vma=False`:
JAX 0.10 cannot type a mapped switch). There each device degrades its own images; left to the compiler, a sharded batch
gives the same result, but a CPU's loop over it gathers all images on every device.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from faceflax import by_device
from faceflax.degradations.tasks import FUNCTIONS, TRAINING_FUNCTIONS, Degraded, Task

_EVALUATION_SEED = 20260


def _grid(groups: tuple[tuple[Task, ...], ...]) -> list[list[Task]]:
    """The tasks by group and place in it; shorter groups start again."""
    places = range(max(map(len, groups)))
    return [[group[i % len(group)] for i in places] for group in groups]


def _draw(groups: tuple[tuple[Task, ...], ...], key: Array, index: Array) -> tuple[Array, Array, Array]:
    """The key of the damage to image `index`, its group, and its place in that."""
    choice_key, task_key = jax.random.split(jax.random.fold_in(key, index))
    draw = jax.random.uniform(choice_key, (2,))
    group = (draw[0] * len(groups)).astype(jnp.int32)
    return task_key, group, (draw[1] * jnp.asarray([len(each) for each in groups])[group]).astype(jnp.int32)


def degrade(
    key: Array, image: Array, index: Array, groups: tuple[tuple[Task, ...], ...], stretch: Array | None = None
) -> Degraded:
    """Degrades `image` [B, H, W, 3] in [0, 1] and returns it with its mask [B, H, W, 1] (1: missing).

    Image i draws with `fold_in(key, index[i])` one of `groups`, then one of the group's tasks, both evenly. An image
    without colour was damaged without: its noise, its covers and its compression are those of a single channel.
    `stretch` [B] multiplies the severities, which are then between and beyond those of the tasks.
    """
    grid = _grid(groups)
    names = tuple(dict.fromkeys(task.name for group in groups for task in group))
    branches = np.array([[names.index(task.name) for task in row] for row in grid])
    severities = np.array([[task.severity for task in row] for row in grid], np.float32)
    functions = [TRAINING_FUNCTIONS[name] for name in names]

    def one(image: Array, index: Array, factor: Array) -> Degraded:
        task_key, group, place = _draw(groups, key, index)
        severity = factor * jnp.asarray(severities)[group, place]
        branch = jnp.asarray(branches)[group, place]
        return _like(image, lax.switch(branch, functions, task_key, image, severity))

    factors = jnp.ones(len(image)) if stretch is None else stretch
    return by_device.map_each(one, jnp.asarray(image, jnp.float32), index, factors)


def drawn(key: Array, index: Array, groups: tuple[tuple[Task, ...], ...], label: Callable[[Task], int]) -> Array:
    """Returns `label` of the task, int32 [B], that `degrade` draws with the same arguments for each image."""
    labels = jnp.asarray([[label(task) for task in row] for row in _grid(groups)], jnp.int32)

    def one(index: Array) -> Array:
        _, group, place = _draw(groups, key, index)
        return labels[group, place]

    return jax.vmap(one)(index)


def degrade_some(
    choice_key: Array,
    key: Array,
    image: Array,
    index: Array,
    groups: tuple[tuple[Task, ...], ...],
    share: float,
) -> Degraded:
    """As `degrade`, but each image only with the probability `share`; the others stay as they are, without a mask."""
    degraded, mask = degrade(key, image, index, groups)
    chosen = is_drawn(choice_key, index, share)[:, None, None, None]
    return jnp.where(chosen, degraded, image), jnp.where(chosen, mask, 0.0)


def is_drawn(choice_key: Array, index: Array, share: float) -> Array:
    """Returns which images, bool [B], are drawn, each with the probability `share`; `degrade_some` degrades those."""
    return jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(choice_key, i)))(index) < share


def _like(image: Array, damage: Degraded) -> Degraded:
    """Takes the colour of the damage away where `image` [H, W, 3] has none."""
    degraded, mask = damage
    return jnp.where(jnp.all(image == image[..., :1]), degraded[..., 1:2], degraded), mask


def degrade_for_evaluation(image: Array, index: Array, task: Task) -> Degraded:
    """Degrades `image` [B, H, W, 3] by `task`: what happens to image i is a function of (`task`, `index[i]`) alone.

    Returns the degraded images and their masks [B, H, W, 1]. The generator is fixed, so that tables do not change
    with JAX's default.
    """
    key = jax.random.key(_EVALUATION_SEED, impl="threefry2x32")
    key = jax.random.fold_in(key, zlib.crc32(str(task).encode()))

    def one(image: Array, index: Array) -> Degraded:
        return FUNCTIONS[task.name](jax.random.fold_in(key, index), image, task.severity)

    return by_device.map_each(one, jnp.asarray(image, jnp.float32), index)
