"""Our side of the race in `compare_pytorch`: networks and steps of `faceflax`, compiled by XLA."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from faceflax import models, objectives
from faceflax.models import discriminator as discriminators
from faceflax.models.convolutions import CPU_COMPILER_OPTIONS
from faceflax.training import gan, optimizer
from faceflax.training.state import Collectives

Losses = list[float]


class Restorer:
    """What the racers share: a generator, its first parameters and a batch."""

    def __init__(self, config: ConfigDict):
        self.model = models.create(config.model)
        self.size = config.data.image_size
        self.params = jax.jit(self.model.init, static_argnums=1)(jax.random.key(0), self.size)
        # The head starts at zero; noise there makes the comparison of outputs mean something.
        self.params["head"]["kernel"] = 0.1 * jax.random.normal(jax.random.key(1), self.params["head"]["kernel"].shape)
        self._apply = jax.jit(self.model.apply, compiler_options=CPU_COMPILER_OPTIONS)

    def load(self, batch: dict[str, np.ndarray]) -> None:
        """Puts the batch on the device."""
        self.batch = [jax.device_put(batch[name]) for name in ("degraded", "mask", "target")]

    def restore(self) -> np.ndarray:
        """Returns the restored batch."""
        return np.asarray(self._apply(self.params, *self.batch[:2]))

    def export(self, path: Path) -> None:
        """Writes the generator as ONNX."""
        from faceflax.restoration import exporting

        function = lambda image, mask: self.model.apply(self.params, image, mask)  # noqa: E731
        exporting.export(function, self.size, {"size": self.size}, "onnx", path)


class Cnn(Restorer):
    """The CNN's step: Charbonnier loss, clipping by global norm, AdamW."""

    def __init__(self, config: ConfigDict):
        super().__init__(config)
        model, transform = self.model, optimizer.create(config.optim, lambda step: config.optim.lr)
        self.moments = jax.jit(transform.init)(self.params)

        def loss(params, degraded, mask, target):
            return objectives.charbonnier(model.apply(params, degraded, mask), target)

        def step(params, moments, degraded, mask, target):
            value, gradients = jax.value_and_grad(loss)(params, degraded, mask, target)
            updates, moments = transform.update(gradients, moments, params)
            return optax.apply_updates(params, updates), moments, value

        self._step = jax.jit(step, donate_argnums=(0, 1), compiler_options=CPU_COMPILER_OPTIONS)

    def parameters(self) -> dict[str, Any]:
        """Returns the generator's parameters as a tree of numpy arrays."""
        return {"generator": jax.tree.map(np.asarray, self.params)}

    def train(self) -> Losses:
        """Makes one step; returns its loss."""
        self.params, self.moments, loss = self._step(self.params, self.moments, *self.batch)
        return [float(loss)]


class Gan(Restorer):
    """The GAN's own step, of `faceflax.training.gan`, with a batch that is damaged already."""

    def __init__(self, config: ConfigDict):
        super().__init__(config)
        learning_rate = lambda step: config.optim.lr  # noqa: E731
        discriminator = discriminators.create(config.gan)
        loss = objectives.adversarial_loss(config.gan.loss)
        gradients = gan.Gradients(config, self.model, discriminator, loss, Collectives())
        transform = optimizer.create(config.optim, learning_rate)
        for_discriminator = optimizer.create_for_discriminator(config.gan, learning_rate)

        def init(params):
            opponent = discriminator.init(jax.random.key(2), config.data.image_size)
            adversary = gan.Adversary(*opponent, for_discriminator.init(opponent.params))
            return optimizer.first_state(params, transform).replace(extras=adversary)

        def step(state, degraded, mask, target):
            batch = gan.Batch(target, degraded, mask, jnp.arange(len(target)))
            grads, sums = gradients(state, batch, jax.random.key(3), {})
            adversary = gan.update_adversary(state.extras, grads["discriminator"], for_discriminator, discriminator)
            state = optimizer.advance(state, grads["generator"], transform, config.optim.ema_decay)
            # What else `sums` would tell is not computed.
            losses = [total / count for total, count in (sums["loss"], sums["loss_discriminator"])]
            return state.replace(extras=adversary), losses

        self.state = jax.jit(init)(self.params)
        self._step = jax.jit(step, donate_argnums=0, compiler_options=CPU_COMPILER_OPTIONS)

    def parameters(self) -> dict[str, Any]:
        """Returns both networks' parameters, and the vectors of spectral normalisation, as trees of numpy arrays."""
        adversary = self.state.extras
        found = {"generator": self.state.params, "discriminator": adversary.params, "vectors": adversary.vectors}
        return jax.tree.map(np.asarray, found)

    def train(self) -> Losses:
        """Makes one step; returns the generator's and the discriminator's loss."""
        self.state, losses = self._step(self.state, *self.batch)
        return [float(loss) for loss in losses]
