"""Differentiable augmentation (Zhao et al., NeurIPS 2020): what the discriminator sees of images, real and restored.

A discriminator that sees few images learns them by heart; seen moved, recoloured and cut it cannot. Each image of a
pair, and the condition it is judged by, gets the same treatment: else the discriminator would learn the treatment.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from faceflax.errors import UserError

POLICIES = ("color", "translation", "cutout")
_MOST_MOVED = 1 / 8  # of the side
_CUT = 1 / 2  # of the side


def check(policies: Sequence[str]) -> None:
    """Raises `UserError` for an augmentation that does not exist."""
    for policy in policies:
        if policy not in POLICIES:
            raise UserError(f'config.gan.augment "{policy}" does not exist; choose from {", ".join(POLICIES)}')


def augment(key: Array, index: Array, images: Array, degraded: Array, mask: Array, policies: Sequence[str]):
    """Returns `images`, `degraded` [B, H, W, 3] in [0, 1] and `mask` [B, H, W, 1], each augmented the same way.

    What happens to image i is a function of `fold_in(key, index[i])` alone, so that calls with equal keys treat a real
    and a restored image equally. Pixels moved in, and those cut out, are mid-grey and not missing. Colours change in
    both pictures by the same brightness, saturation and contrast.
    """
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    stacked = jnp.concatenate([images - 0.5, degraded - 0.5, mask], -1)
    stacked = jax.vmap(lambda k, image: _augment(k, image, policies))(keys, stacked)
    return stacked[..., :3] + 0.5, stacked[..., 3:6] + 0.5, stacked[..., 6:]


def _augment(key: Array, stacked: Array, policies: Sequence[str]) -> Array:
    """Treats one image: [H, W, 7] of two pictures around 0, and a mask."""
    color_key, move_key, cut_key = jax.random.split(key, 3)
    if "color" in policies:
        draws = jax.random.uniform(color_key, (3,))
        pictures = [_recolor(draws, stacked[..., :3]), _recolor(draws, stacked[..., 3:6])]
        stacked = jnp.concatenate([*pictures, stacked[..., 6:]], -1)
    if "translation" in policies:
        stacked = _translate(jax.random.uniform(move_key, (2,)), stacked)
    if "cutout" in policies:
        stacked = _cut_out(jax.random.uniform(cut_key, (2,)), stacked)
    return stacked


def _recolor(draws: Array, picture: Array) -> Array:
    """Brightness by -0.25 to 0.25, saturation by 0 to 2, contrast by 0.5 to 1.5, as the authors' code draws them."""
    picture = picture + (draws[0] - 0.5) / 2
    grey = picture.mean(-1, keepdims=True)
    picture = grey + (picture - grey) * (2 * draws[1])
    mean = picture.mean()
    return mean + (picture - mean) * (draws[2] + 0.5)


def _translate(draws: Array, stacked: Array) -> Array:
    height, width, _ = stacked.shape
    most = [max(1, round(side * _MOST_MOVED)) for side in (height, width)]
    padded = jnp.pad(stacked, [(most[0], most[0]), (most[1], most[1]), (0, 0)])
    start = [jnp.floor(draw * (2 * m + 1)).astype(jnp.int32) for draw, m in zip(draws, most, strict=True)]
    return lax.dynamic_slice(padded, (*start, 0), stacked.shape)


def _cut_out(draws: Array, stacked: Array) -> Array:
    """Cuts a square of half the side whose centre may lie anywhere."""
    height, width, _ = stacked.shape
    y = jnp.abs(jnp.arange(height) + 0.5 - draws[0] * height) < _CUT / 2 * height
    x = jnp.abs(jnp.arange(width) + 0.5 - draws[1] * width) < _CUT / 2 * width
    return jnp.where((y[:, None] & x)[..., None], 0.0, stacked)
