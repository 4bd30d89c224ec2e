"""Deblurring by least squares, without training: the blur is told from the image alone, and then undone.

What is left (rings, and what the blur took for good) is for a network to mend, which is far easier than the blur itself
(deep Wiener deconvolution, Dong et al., NeurIPS 2020): `config.model.deblur`.
"""

import jax
import jax.numpy as jnp

from faceflax.deblurring.deconvolution import deconvolve
from faceflax.deblurring.estimation import estimate
from faceflax.deblurring.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "deblur", "deconvolve", "estimate"]


def deblur(kind: str, image: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns `image` without the blur of a kind of `KINDS` that it is taken to have.

    Takes and returns float32 [H, W, 3] in [0, 1], not clipped. What has a hole in its `mask` [H, W, 1] stays as it is:
    a restorer leaves known pixels as they come. No gradient passes.
    """
    image = jax.lax.stop_gradient(image)
    sharp = deconvolve(KINDS[kind], image, estimate(KINDS[kind], image))
    return jnp.where(mask.max() > 0, image, sharp)
