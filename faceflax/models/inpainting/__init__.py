"""Missing pixels: a first guess without a network, from which one goes on, and what is kept of those that are known."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from faceflax.models.inpainting import likely
from faceflax.models.inpainting.likely import fill_with_face
from faceflax.models.inpainting.smooth import fill_holes

__all__ = ["FILLS", "fill_holes", "fill_with_face", "keep_known_pixels"]

FILLS: dict[str, Callable[[Array, Array], Array]] = {
    "smooth": fill_holes,
    **{name: functools.partial(fill_with_face, name=name) for name in likely.FILES},
}
"""What `config.model.fill` chooses among: each fills images [B, H, W, 3] where masks [B, H, W, 1] are 1."""


def keep_known_pixels(restored: Array, degraded: Array, mask: Array) -> Array:
    """Returns `restored` [B, H, W, C], where an image has a hole (`mask` [B, H, W, 1] > 0) with its known pixels."""
    has_hole = jnp.any(mask > 0, axis=(1, 2, 3), keepdims=True)
    return jnp.where(has_hole, mask * restored + (1 - mask) * degraded, restored)
