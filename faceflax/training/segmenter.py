"""The segmenter arm: a network that finds what covers a face, trained on what the degradations cover it with."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from faceflax import degradations, metrics, models
from faceflax.degradations.occlusion import HOLE_COLOUR
from faceflax.errors import UserError
from faceflax.training import optimizer
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState

# Shares of faces that stay uncovered, of masks and glasses with a print, and of images that are damaged besides: the
# network must not take damage for a cover.
_BARE, _PRINTED, _DAMAGED = 0.3, 0.4, 0.5


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`. Raises `UserError` when no task of `config.tasks` covers a face."""
    model = models.create_segmenter(config.model)
    transform = optimizer.create(config.optim, learning_rate)
    cover = _covering(degradations.parse(config.tasks))
    init_key, step_key = jax.random.split(jax.random.key(config.seed))

    def init() -> TrainState:
        return optimizer.first_state(model.init(init_key, config.data.image_size), transform)

    def loss_fn(params: Any, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, Metrics]:
        logits = model.apply(params, image)
        weight = edge_weight(mask)
        losses = optax.sigmoid_binary_cross_entropy(logits, mask)
        cross_entropy = jnp.sum(weight * losses) / jnp.sum(weight)
        dice = dice_loss(logits, mask, weight)
        loss = cross_entropy + dice
        sums = metrics.counted(len(image), loss=loss, loss_cross_entropy=cross_entropy, loss_dice=dice)
        return loss, sums | {"iou": intersection_over_union(logits, mask)}

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(step_key, state.step)

        def gradients(micro: dict[str, jax.Array]) -> tuple[Any, Metrics]:
            covered = collectives.map_images(lambda image, index: cover(key, image, index))
            image, mask = covered(micro["image"].astype(jnp.float32) / 255, micro["index"])
            return jax.grad(loss_fn, has_aux=True)(state.params, image, mask)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    return Arm(init, step, None, lambda: None, shown=("loss", "iou"))


def edge_weight(mask: jax.Array) -> jax.Array:
    """Returns the weight of each pixel of masks [B, H, W, 1]: from 1 up to 6, at edges and on thin things as straps.

    1 + 5 |mean of the mask around the pixel - mask| (Wei et al., F3Net, AAAI 2020), the mean over a square of 11
    pixels at 128.
    """
    radius = max(1, round(5 / 128 * min(mask.shape[1:3])))
    rows, columns = (_mean_over(size, radius) for size in mask.shape[1:3])
    return 1.0 + 5.0 * jnp.abs(jnp.einsum("yv,bvuc,xu->byxc", rows, mask, columns) - mask)


def _mean_over(size: int, radius: int) -> np.ndarray:
    """The matrix [size, size] whose every row is the mean of the places at most `radius` away."""
    place = np.arange(size)
    near = (np.abs(place[:, None] - place) <= radius).astype(np.float32)
    return near / near.sum(axis=1, keepdims=True)


def dice_loss(logits: jax.Array, mask: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean over images of 1 - the Dice coefficient of probabilities (Milletari et al., 3DV 2016, with plain sums).

    All are [B, H, W, 1]. One pixel is added above and below, so that an empty mask asks for an empty answer.
    """
    found = jax.nn.sigmoid(logits)
    both, either = (jnp.sum(weight * values, axis=(1, 2, 3)) for values in (found * mask, found + mask))
    return jnp.mean(1.0 - (2.0 * both + 1.0) / (either + 1.0))


def intersection_over_union(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (intersection, union) in pixels, summed over all images: what is found in bare faces counts as wrong."""
    found = logits > 0
    return jnp.sum((found & (mask > 0)).astype(jnp.float32)), jnp.sum((found | (mask > 0)).astype(jnp.float32))


def _covering(groups: tuple[tuple[degradations.Task, ...], ...]) -> Callable:
    """Returns `(key, image, index) -> (image, mask)`: covers most faces, and damages half of all by the other tasks."""
    covers = tuple(group for group in groups if group[0].name in degradations.OCCLUDING)
    damages = tuple(group for group in groups if group[0].name not in degradations.OCCLUDING)
    if not covers:
        raise UserError(f"config.tasks covers no face: a segmenter needs {' or '.join(degradations.OCCLUDING)} in it")

    def cover(key: jax.Array, image: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice_key, print_key, cover_key, damage_key = jax.random.split(key, 4)
        of_each = lambda key: jax.vmap(lambda i: jax.random.fold_in(key, i))(index)  # noqa: E731
        draw = jax.vmap(lambda key: jax.random.uniform(key, (3, 1, 1, 1)))(of_each(choice_key))
        covered, mask = degradations.degrade(cover_key, image, index, covers)
        printed = covered * jax.vmap(lambda key: _draw_print(key, *image.shape[1:3]))(of_each(print_key))
        # Holes have no print: else whatever has a pattern, wherever it lies, is taken for a cover.
        is_cloth = (mask > 0) & jnp.any(covered != HOLE_COLOUR, axis=-1, keepdims=True)
        covered = jnp.where((draw[:, 0] < _PRINTED) & is_cloth, printed, covered)
        is_bare = draw[:, 1] < _BARE
        image, mask = jnp.where(is_bare, image, covered), jnp.where(is_bare, 0.0, mask)
        if damages:
            damaged, _ = degradations.degrade(damage_key, image, index, damages)
            image = jnp.where(draw[:, 2] < _DAMAGED, damaged, image)
        return image, mask

    return cover


def _draw_print(key: jax.Array, height: int, width: int) -> jax.Array:
    """What cloth with stripes or dots, of any width and angle, multiplies its colour by: [height, width, 1]."""
    draw = jax.random.uniform(key, (4,))
    y, x = np.mgrid[:height, :width] / width
    turn = 2.0 * np.pi * (8.0 + 24.0 * draw[0]) * jnp.exp(1j * np.pi * draw[1])
    along, across = (jnp.cos(turn.real * a + turn.imag * b) for a, b in ((x, y), (y, -x)))
    pattern = jnp.where(draw[2] < 0.5, along, along * across) > 0.4
    return (1.0 - (0.2 + 0.5 * draw[3]) * pattern)[..., None]
