"""The optimiser: AdamW with warm-up, cosine decay and gradient clipping, and the average of the parameters it makes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from faceflax.config import num_steps
from faceflax.errors import UserError
from faceflax.training.state import TrainState


def schedule(optim: ConfigDict, total_steps: int, steps_per_epoch: int | None) -> optax.Schedule:
    """Learning rate by step: linear from 0 to `optim.lr` over the warm-up, then a cosine to `optim.final_lr`.

    Raises `UserError` when the warm-up is longer than the training.
    """
    warmup = num_steps(optim.warmup, steps_per_epoch)
    if warmup >= total_steps:
        raise UserError(f"config.optim.warmup is {warmup} steps of {total_steps} in all; make it shorter")
    return optax.warmup_cosine_decay_schedule(0.0, optim.lr, warmup, total_steps, optim.final_lr)


def create(
    optim: ConfigDict, learning_rate: optax.Schedule, frozen: Sequence[str] = ()
) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019); weight decay acts on kernels alone, not on biases and scales.

    Parameters under the names `frozen` at the top of the tree, and those that `optim.modules` leaves out, stay as they
    are, and nothing is kept for them.
    """
    transform = _adamw(optim, learning_rate)
    if not frozen and not optim.modules:
        return transform

    def kinds(params: Any) -> Any:
        stay = {*frozen, *_left_out(params, optim.modules)}
        return {name: "frozen" if name in stay else "trained" for name in params}

    return optax.multi_transform({"trained": transform, "frozen": optax.set_to_zero()}, kinds)


def hold(params: Any, modules: Sequence[str]) -> Any:
    """Returns the parameters without gradients for what `modules` (`optim.modules`) leaves out: none is computed.

    Raises `UserError` when no parameter is under one of these names.
    """
    return params | {name: jax.lax.stop_gradient(params[name]) for name in _left_out(params, modules)}


def _left_out(params: Any, modules: Sequence[str]) -> list[str]:
    for module in modules:
        if not any(name.startswith(module) for name in params):
            raise UserError(f'config.optim.modules: the network has no "{module}"; it has {", ".join(sorted(params))}')
    return [name for name in params if modules and not name.startswith(tuple(modules))]


def _adamw(optim: ConfigDict, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    adamw = optax.adamw(
        learning_rate,
        b1=optim.b1,
        b2=optim.b2,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    )
    if not optim.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(optim.clip_norm), adamw)


def create_for_discriminator(gan: ConfigDict, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) at `gan.lr_ratio` times the generator's learning rate."""
    return optax.adam(lambda step: gan.lr_ratio * learning_rate(step), b1=gan.b1, b2=gan.b2, eps=gan.eps)


def first_state(params: Any, transform: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step of a network with `params`."""
    return TrainState(step=jnp.int32(0), params=params, ema=params, opt_state=transform.init(params))


def advance(state: TrainState, grads: Any, transform: optax.GradientTransformation, ema_decay: float) -> TrainState:
    """Returns the state one step on: parameters, their average and the optimiser's state; `extras` are left alone."""
    updates, opt_state = transform.update(grads, state.opt_state, state.params)
    params, step = optax.apply_updates(state.params, updates), state.step + 1
    ema = ema_update(state.ema, params, step, ema_decay)
    return state.replace(step=step, params=params, ema=ema, opt_state=opt_state)


def ema_update(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """Exponential moving average of the parameters; `step` (from 1) keeps it short while training is young."""
    decay = jnp.minimum(decay, step / (step + 10.0))
    return jax.tree.map(lambda average, value: average + (1 - decay) * (value - average), ema, params)
