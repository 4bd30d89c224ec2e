"""The CNN arm: the encoder-decoder trained on reconstruction losses."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from faceflax import degradations, metrics, models, objectives
from faceflax.training import optimizer
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`."""
    model = models.create(config.model)
    transform = optimizer.create(config.optim, learning_rate, model.frozen)
    groups = degradations.parse(config.tasks)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))

    def init() -> TrainState:
        return optimizer.first_state(model.init(init_key, config.data.image_size), transform)

    def loss_fn(
        params: Any, clean: jax.Array, degraded: jax.Array, mask: jax.Array, networks: Any
    ) -> tuple[jax.Array, Metrics]:
        restored = model.apply(optimizer.hold(params, config.optim.modules), degraded, mask)
        loss, terms = objectives.reconstruction_loss(restored, clean, config.loss, networks)
        sums = metrics.counted(len(clean), loss=loss, **{f"loss_{name}": term for name, term in terms.items()})
        return loss, sums | {"psnr": metrics.weighted(metrics.psnr(restored, clean), jnp.ones(len(clean)))}

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(step_key, state.step)

        def gradients(micro: dict[str, jax.Array]) -> tuple[Any, Metrics]:
            clean = micro["image"].astype(jnp.float32) / 255
            degrade = collectives.map_images(lambda image, index: degradations.degrade(key, image, index, groups))
            degraded, mask = degrade(clean, micro["index"])
            return jax.grad(loss_fn, has_aux=True)(state.params, clean, degraded, mask, networks)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    return Arm(init, step, model.apply, lambda: objectives.load_networks(config.loss))
