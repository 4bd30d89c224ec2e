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
    groups, label = degradations.parse(config.tasks), labels(config.model.experts)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))

    def init() -> TrainState:
        return optimizer.first_state(model.init(init_key, config.data.image_size), transform)

    def loss_fn(
        router: Any, params: Any, degraded: jax.Array, mask: jax.Array, expert: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        logits = experts.route(params | {experts.ROUTER: router}, degraded, mask)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, expert).mean()
        right = (jnp.argmax(logits, -1) == expert).mean()
        return loss, metrics.counted(len(degraded), loss=loss, accuracy=right)

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        spare_key, key = jax.random.split(jax.random.fold_in(step_key, state.step))

        def gradients(micro: dict[str, jax.Array]) -> tuple[Any, Metrics]:
            clean, index = micro["image"].astype(jnp.float32) / 255, micro["index"]
            degrade = collectives.map_images(
                lambda image, index: degradations.degrade_some(
                    spare_key, key, image, index, groups, 1 - config.experts.undamaged
                )
            )
            degraded, mask = degrade(clean, index)
            damaged = degradations.is_drawn(spare_key, index, 1 - config.experts.undamaged)
            expert = jnp.where(damaged, degradations.drawn(key, index, groups, label), 0)
            find = jax.grad(loss_fn, has_aux=True)
            grads, sums = find(state.params[experts.ROUTER], state.params, degraded, mask, expert)
            return jax.tree.map(jnp.zeros_like, state.params) | {experts.ROUTER: grads}, sums

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    return Arm(init, step, model.apply, lambda: None, shown=("loss", "accuracy"))


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
