"""The GAN arm: the CNN arm's generator, trained against a discriminator as well.

Both networks learn in one step, from one pass of the generator: its restored images are judged once, and the judgement
is followed back twice, to the discriminator's parameters for its loss and to the images for the generator's.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from ml_collections import ConfigDict

from faceflax import degradations, metrics, models, objectives
from faceflax.models import discriminator as discriminators
from faceflax.models.discriminator import Discriminator, Logits
from faceflax.objectives import AdversarialLoss
from faceflax.training import diffaugment, monitors, optimizer
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState

Views = tuple[Array, Array, Array]  # images, degraded and mask as the discriminator sees them


@struct.dataclass
class Adversary:
    """The discriminator's part of the state: `TrainState.extras`."""

    params: Any
    vectors: Any  # of spectral normalisation
    opt_state: Any


class Batch(NamedTuple):
    """A batch on the devices, its images degraded."""

    clean: Array
    degraded: Array
    mask: Array
    index: Array


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`."""
    diffaugment.check(config.gan.augment)
    model, discriminator = models.create(config.model), discriminators.create(config.gan)
    transforms = {
        "generator": optimizer.create(config.optim, learning_rate, model.frozen),
        "discriminator": optimizer.create_for_discriminator(config.gan, learning_rate),
    }
    gradients = Gradients(config, model, discriminator, objectives.adversarial_loss(config.gan.loss), collectives)
    groups = degradations.parse(config.tasks)
    init_key, adversary_key, step_key = jax.random.split(jax.random.key(config.seed), 3)

    def init() -> TrainState:
        state = optimizer.first_state(model.init(init_key, config.data.image_size), transforms["generator"])
        opponent = discriminator.init(adversary_key, config.data.image_size)
        adversary = Adversary(*opponent, transforms["discriminator"].init(opponent.params))
        return state.replace(extras=adversary)

    def step(state: TrainState, batch: dict[str, Array], networks: Any) -> tuple[TrainState, Metrics]:
        degrade_key, augment_key = jax.random.split(jax.random.fold_in(step_key, state.step))

        def of_part(part: dict[str, Array]) -> tuple[dict[str, Any], Metrics]:
            clean = part["image"].astype(jnp.float32) / 255
            degrade = collectives.map_images(
                lambda image, index: degradations.degrade(degrade_key, image, index, groups)
            )
            return gradients(state, Batch(clean, *degrade(clean, part["index"]), part["index"]), augment_key, networks)

        grads, sums = accumulate(of_part, batch, config.optim.accumulate, collectives.average)
        norms = {name: optax.tree.norm(each) for name, each in grads.items()}
        sums |= metrics.counted(1, grad_norm=norms["generator"], discriminator_grad_norm=norms["discriminator"])
        sums |= metrics.counted(1, lr=learning_rate(state.step))
        adversary = update_adversary(state.extras, grads["discriminator"], transforms["discriminator"], discriminator)
        state = optimizer.advance(state, grads["generator"], transforms["generator"], config.optim.ema_decay)
        return state.replace(extras=adversary), sums

    shown = ("loss", "psnr", "accuracy_real", "accuracy_fake", "diversity", "sharpness")
    return Arm(init, step, model.apply, lambda: objectives.load_networks(config.loss), shown)


def update_adversary(
    adversary: Adversary, grads: Any, transform: optax.GradientTransformation, discriminator: Discriminator
) -> Adversary:
    """Returns the adversary one step on; its vectors follow from the parameters that the step began with."""
    updates, opt_state = transform.update(grads, adversary.opt_state, adversary.params)
    _, vectors = discriminator.normalize(adversary.params, adversary.vectors)
    return Adversary(optax.apply_updates(adversary.params, updates), vectors, opt_state)


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Computes the gradients of both networks for a batch, and what can be told of it.

    `config` is the whole experiment's, `model` its generator and `loss` what both networks pull at.
    """

    config: ConfigDict
    model: models.Model
    discriminator: Discriminator
    loss: AdversarialLoss
    collectives: Collectives

    def __call__(
        self, state: TrainState, batch: Batch, augment_key: Array, networks: Any
    ) -> tuple[dict[str, Any], Metrics]:
        """Returns the gradients by network ("generator", "discriminator"), and metrics."""
        gan = self.config.gan
        restored, pull_generator = jax.vjp(self._restore(batch), state.params)
        loss, terms, by_target = self._reconstruction(restored, batch.clean, networks)
        real_view = self._view(batch, batch.clean, augment_key)

        def judge(params: Any, restored: Array) -> tuple[Logits, Logits]:
            normalized, _ = self.discriminator.normalize(params, state.extras.vectors)
            fake_view = self._view(batch, restored, augment_key)
            return self.discriminator.apply(normalized, *real_view), self.discriminator.apply(normalized, *fake_view)

        logits, pull_logits = jax.vjp(judge, state.extras.params, restored)
        opponent_loss, to_opponent = jax.value_and_grad(self.loss.discriminator, (0, 1))(*logits)
        adversarial_loss, to_images = jax.value_and_grad(self.loss.generator, (0, 1))(*logits)
        opponent_grads, _ = pull_logits(to_opponent)
        _, by_opponent = pull_logits(to_images)
        weight = _adversarial_weight(gan, state.step, by_target, by_opponent)
        (grads,) = pull_generator(by_target + weight * by_opponent)
        views = {"r1": real_view, "r2": self._view(batch, jax.lax.stop_gradient(restored), augment_key)}
        opponent_grads, penalties = self._add_penalties(opponent_grads, state, views)

        values = {"loss": loss + weight * adversarial_loss, "loss_adversarial": adversarial_loss}
        values |= {f"loss_{name}": term for name, term in terms.items()} | {"loss_discriminator": opponent_loss}
        values |= monitors.balance(*logits) | {"adversarial_weight": weight}
        sums = metrics.counted(len(restored), **values) | penalties
        sums |= monitors.collapse(restored, batch.clean, batch.mask)
        sums["psnr"] = metrics.weighted(metrics.psnr(restored, batch.clean), jnp.ones(len(restored)))
        return {"generator": grads, "discriminator": opponent_grads}, sums

    def _restore(self, batch: Batch) -> Callable[[Any], Array]:
        modules = self.config.optim.modules
        return lambda params: self.model.apply(optimizer.hold(params, modules), batch.degraded, batch.mask)

    def _reconstruction(self, restored: Array, clean: Array, networks: Any) -> tuple[Array, dict[str, Array], Array]:
        """The reconstruction loss, its terms, and its gradient by the restored images."""
        function = lambda images: objectives.reconstruction_loss(images, clean, self.config.loss, networks)  # noqa: E731
        (loss, terms), gradient = jax.value_and_grad(function, has_aux=True)(restored)
        return loss, terms, gradient

    def _view(self, batch: Batch, images: Array, key: Array) -> Views:
        """What the discriminator gets to see of `images`, which are `batch.clean` or restorations of it."""
        policies = self.config.gan.augment
        augment = self.collectives.map_images(
            lambda index, *pictures: diffaugment.augment(key, index, *pictures, policies)
        )
        return augment(batch.index, images, batch.degraded, batch.mask)

    def _add_penalties(self, grads: Any, state: TrainState, views: dict[str, Views]) -> tuple[Any, Metrics]:
        """Adds the gradients of R1 and R2, in the steps that compute them as much as is left out in the others."""
        gan, adversary = self.config.gan, state.extras
        weights = {name: gan[name] for name in views if gan[name]}
        if not weights:
            return grads, {}

        def penalty(params: Any) -> tuple[Array, dict[str, Array]]:
            normalized, _ = self.discriminator.normalize(params, adversary.vectors)
            found = {name: _squared_gradient(self.discriminator, normalized, views[name]) for name in weights}
            return sum(weight / 2 * found[name] for name, weight in weights.items()), found

        def with_penalty() -> tuple[Any, dict[str, Array]]:
            extra, found = jax.grad(penalty, has_aux=True)(adversary.params)
            return jax.tree.map(lambda g, e: g + gan.penalty_every * e, grads, extra), found

        def without() -> tuple[Any, dict[str, Array]]:
            return grads, dict.fromkeys(weights, jnp.float32(0))

        is_due = state.step % gan.penalty_every == 0
        grads, found = jax.lax.cond(is_due, with_penalty, without)
        return grads, {name: (value, is_due.astype(jnp.float32)) for name, value in found.items()}


def _squared_gradient(discriminator: Discriminator, normalized: Any, view: Views) -> Array:
    """Mean over images of |gradient of the logits by the image|^2, in float32 (Mescheder et al., ICML 2018, eq. 9).

    The pixels' logits count by their mean, beside the image's.
    """
    images, *condition = view

    def total(images: Array) -> Array:
        logits = discriminator.apply(normalized, images, *condition, dtype="float32")
        return jnp.sum(logits.image + logits.pixel.mean((1, 2, 3)))

    return jnp.square(jax.grad(total)(images)).sum() / len(images)


def _adversarial_weight(gan: ConfigDict, step: Array, by_target: Array, by_opponent: Array) -> Array:
    """The adversarial loss' weight in this step.

    Adaptive, it makes both losses pull equally hard (Esser et al., CVPR 2021, eq. 7), but measured at the restored
    image, where the paper measures at the last layer: that costs no pass of its own.
    """
    weight = jnp.float32(gan.weight)
    if gan.adaptive:
        norms = [jnp.sqrt(jnp.square(gradient).sum()) for gradient in (by_target, by_opponent)]
        weight *= jnp.minimum(norms[0] / (norms[1] + 1e-6), 1e4)
    return jnp.where(step < gan.start, 0.0, weight)
