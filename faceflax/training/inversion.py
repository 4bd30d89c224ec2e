"""The inversion arm: a restorer with the face prior inside learns which styles made the face that it sees.

The prior's own faces are its pairs: their styles are known. So the network learns to tell styles from pictures without
that the prior makes a face at each step, which on a CPU costs several times what the network does; terms of
`config.loss` compare the made faces besides, where they have a weight.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from faceflax import degradations, metrics, models, objectives
from faceflax.errors import UserError
from faceflax.models.face_prior.network import DIMENSION
from faceflax.models.face_prior.restorer import PRIOR
from faceflax.training import optimizer, prior_styles
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`.

    Raises `UserError` for a network without the face prior, and for mirrored or cropped faces, whose styles nobody
    knows, and for a prior that is trained as well.
    """
    _check(config)
    model = models.create(config.model)
    transform = optimizer.create(config.optim, learning_rate, model.frozen)
    groups = degradations.parse(config.tasks)
    loss_fn = _create_loss(config, model)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))

    def init() -> TrainState:
        return optimizer.first_state(model.init(init_key, config.data.image_size), transform)

    def step(state: TrainState, batch: dict[str, Array], networks: Any) -> tuple[TrainState, Metrics]:
        keys = jax.random.split(jax.random.fold_in(step_key, state.step))

        def gradients(micro: dict[str, Array]) -> tuple[Any, Metrics]:
            clean = micro["image"].astype(jnp.float32) / 255
            damage = collectives.map_images(
                lambda image, index: degradations.degrade_some(*keys, image, index, groups, config.inversion.damage)
            )
            seen = damage(clean, micro["index"])
            return jax.grad(loss_fn, has_aux=True)(state.params, clean, seen, micro["style"], networks)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    shown = ("loss", "style_missed")
    load_networks = lambda: objectives.load_networks(config.loss)  # noqa: E731
    return Arm(
        init,
        step,
        model.apply,
        load_networks,
        shown,
        features={"style": "style"},
        feature_shapes={"style": (DIMENSION,)},
        prepare=prior_styles.describe,
    )


def _check(config: ConfigDict) -> None:
    if config.model.name != "face_prior":
        raise UserError(
            f'config.arm "inversion" asks which styles of the face prior made a face: set config.model.name to '
            f'"face_prior", not "{config.model.name}"'
        )
    if config.data.flip or config.data.crop < 1 or config.data.tones or config.data.grey:
        raise UserError(
            "which styles made a mirrored, cropped or recoloured face is not known: set config.data.flip to False, "
            "config.data.crop to 1, and config.data.tones and config.data.grey to 0"
        )
    if not config.model.frozen:
        raise UserError("inversion asks for the styles of the published prior: leave config.model.frozen as it is")


def _create_loss(config: ConfigDict, model: models.Model) -> Callable[..., tuple[Array, Metrics]]:
    """Returns `loss(params, clean, (degraded, mask), style, networks) -> (loss, metrics)`."""
    has_terms = any(config.loss.values())

    def loss_fn(
        params: Any, clean: Array, seen: tuple[Array, Array], style: Array, networks: Any
    ) -> tuple[Array, Metrics]:
        restored = model.restore_with_styles(params, *seen)
        missed = style_missed(restored.styles, style, params[PRIOR]["mean"])
        # By a constant, not by this batch's variance: every face counts alike, whatever batch or share it is in.
        loss = config.inversion.style * missed[0] / (len(clean) * prior_styles.VARIANCE)
        if has_terms:  # else nothing asks for the made faces, and none are made
            reconstruction, terms = objectives.reconstruction_loss(restored.images, clean, config.loss, networks)
            loss += reconstruction
            shown = {f"loss_{name}": term for name, term in terms.items()}
        else:
            shown = {}
        return loss, metrics.counted(len(clean), loss=loss, **shown) | {"style_missed": missed}

    return loss_fn


def style_missed(found: Array, style: Array, mean: Array) -> tuple[Array, Array]:
    """Returns how far styles are from the true ones, and how far these are from the mean style: sums of squares.

    `found` is [B, 23, 512], of which each layer counts alike, `style` [B, 512] and `mean` [512]. The quotient is the
    share of the styles' variance that is missed: 1 for who always finds the mean.
    """
    mean = jax.lax.stop_gradient(mean)
    missed = jnp.square(found - style[:, None]).mean(1)
    return missed.sum(), jnp.square(style - mean).sum()
