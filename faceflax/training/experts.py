"""The experts arm: trained networks become the experts of one restorer, and a router learns what each is for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from faceflax import degradations, metrics, models
from faceflax.errors import UserError
from faceflax.models import experts
from faceflax.training import optimizer
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`. Raises `UserError` when `config.model.experts` names no tasks."""
    model = models.create(config.model)
    transform = optimizer.create(config.optim, learning_rate, (experts.SHARED, experts.EXPERTS))
    damage = _Damage(config)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))

    def init() -> TrainState:
        return optimizer.first_state(model.init(init_key, config.data.image_size), transform)

    def loss_fn(params: Any, degraded: jax.Array, mask: jax.Array, expert: jax.Array) -> tuple[jax.Array, Metrics]:
        logits = experts.route(params, config.model.experts, degraded, mask)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, expert).mean()
        right = (jnp.argmax(logits, -1) == expert).mean()
        return loss, metrics.counted(len(degraded), loss=loss, accuracy=right)

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(step_key, state.step)

        def gradients(micro: dict[str, jax.Array]) -> tuple[Any, Metrics]:
            clean = micro["image"].astype(jnp.float32) / 255
            damaged = collectives.map_images(lambda image, index: damage(key, image, index))
            degraded, mask, expert = damaged(clean, micro["index"])
            return jax.grad(loss_fn, has_aux=True)(state.params, degraded, mask, expert)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    return Arm(init, step, model.apply, lambda: None, shown=("loss", "accuracy"))


class _Damage:
    """What the router sees of faces, and the number of the expert for it.

    Most have one kind of damage, as experts were trained on. Of the others `experts.undamaged` and `experts.twice`,
    whose damage is damaged again by another kind, are the first expert's, half of each with a little noise instead, as
    every photograph has (what has noise remains what it was by that); `experts.stretched`, with severities between and
    beyond those of the tasks, are those of the expert for the whole task.
    """

    def __init__(self, config: ConfigDict) -> None:
        self._groups, self._label = degradations.parse(config.tasks), labels(config.model.experts)
        self._shares = config.experts

    def __call__(self, key: jax.Array, clean: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns degraded images [B, H, W, 3], masks [B, H, W, 1] and experts [B], of clean images and `index` [B]."""
        keys = jax.random.split(key, 9)
        draw = degradations.is_drawn
        is_stretched = draw(keys[0], index, self._shares.stretched)
        power = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(keys[1], i), minval=-1.0))(index)
        stretch = jnp.where(is_stretched, _STRETCH**power, 1.0)
        once, mask = degradations.degrade(keys[2], clean, index, self._groups, stretch)
        again, second_mask = degradations.degrade(keys[3], once, index, self._groups)
        has_hole = jnp.maximum(mask, second_mask).any((1, 2, 3))  # which leaves no choice of expert
        is_twice = draw(keys[4], index, self._shares.twice) & ~has_hole
        is_clean = draw(keys[5], index, self._shares.undamaged)
        is_faint = draw(keys[6], index, 0.5)
        strength = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(keys[7], i), maxval=0.5))(index)

        exact = degradations.drawn(keys[2], index, self._groups, self._label)
        whole = degradations.drawn(keys[2], index, self._groups, lambda task: self._label(_of_all(task)))
        is_noisy = degradations.drawn(keys[2], index, self._groups, lambda task: int(task.name in _NOISY)) > 0
        is_firsts = is_clean | is_twice & ~(is_faint & is_noisy)
        expert = jnp.where(is_firsts, 0, jnp.where(is_stretched, whole, exact))
        pick = lambda chosen, one, other: jnp.where(chosen[:, None, None, None], one, other)  # noqa: E731
        shown = pick(is_clean, clean, once)
        faint = degradations.degrade(keys[8], shown, index, _NOISE, strength)[0]
        degraded = pick(is_clean | is_twice, pick(is_faint, faint, pick(is_clean, clean, again)), once)
        return degraded, pick(is_clean, jnp.zeros_like(mask), mask), expert


_STRETCH = 1.8  # the largest factor of a severity
_NOISE = degradations.parse(("noise 15",))
_NOISY = ("noise", "lowlight")  # tasks that end with noise


def _of_all(task: degradations.Task) -> degradations.Task:
    """The task at a severity that no expert is for."""
    return degradations.Task(task.name, 0)


def labels(names: tuple[str, ...]) -> Callable[[degradations.Task], int]:
    """Returns a function from a task to the number of its expert in `config.model.experts`.

    Each is for some tasks, as "occlude, facemask" or "sr 4"; one that is for a task's severity comes before one that is
    for the whole task. What is nobody's is the first's. Raises `UserError` when there are no experts, or one is for no
    task, or for another's.
    """
    if not names:
        raise UserError("config.model.experts is empty: name the tasks that each of the experts is for")
    numbers: dict[str, int] = {}
    for number, specs in enumerate(names):
        for spec in (" ".join(spec.split()) for spec in specs.split(",")):
            degradations.parse((spec,))
            if spec in numbers or spec == "mixed":
                raise UserError(f'config.model.experts: "{spec}" is for two experts, or for all; name each task once')
            numbers[spec] = number
    return lambda task: numbers.get(str(task), numbers.get(task.name, 0))
