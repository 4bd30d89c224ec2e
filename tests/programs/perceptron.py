"""An arm of one hidden layer, which compiles in a moment: what a quick test of the devices trains."""

import jax
import jax.numpy as jnp
import optax

from faceflax import degradations, metrics, objectives
from faceflax.training import optimizer
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm

HIDDEN = 32


def create(config, learning_rate, collectives):
    """Makes the arm, in the way of the CNN's."""
    transform = optimizer.create(config.optim, learning_rate)
    groups = degradations.parse(config.tasks)
    size = 3 * config.data.image_size**2

    def init():
        shapes = {"into": (size, HIDDEN), "bias": (HIDDEN,), "out": (HIDDEN, size)}
        return optimizer.first_state({name: jnp.zeros(shape) for name, shape in shapes.items()}, transform)

    def loss(params, clean, degraded):
        hidden = jax.nn.silu(degraded.reshape(len(clean), size) @ params["into"] + params["bias"])
        return objectives.charbonnier((hidden @ params["out"]).reshape(clean.shape), clean)

    def step(state, batch, networks):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)

        def gradients(part):
            clean = part["image"].astype(jnp.float32) / 255
            degrade = collectives.map_images(lambda image, index: degradations.degrade(key, image, index, groups))
            value, grads = jax.value_and_grad(loss)(state.params, clean, degrade(clean, part["index"])[0])
            return grads, metrics.counted(len(clean), loss=value)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    return Arm(init, step, None, dict)
