"""Deblurring by least squares, without training: the blur is told from the image alone, and then undone.

What is left (rings, and what the blur took for good) is for a network to mend, which is far easier than the blur itself
(deep Wiener deconvolution, Dong et al., NeurIPS 2020): `config.model.deblur`.
"""

import jax
import jax.numpy as jnp

from faceflax.deblurring.deconvolution import deconvolve
from faceflax.deblurring.estimation import estimate
from faceflax.deblurring.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "deblur", "deconvolve", "estimate", "is_plausible"]

# How much steeper a deblurred image may be. Of 526 faces under the tasks `motion` and `blur` and their severest it is
# 4.1 at most; of 36 that were compressed and then turned, whose marks of JPEG nothing tells, 6 to 10 where stripes fill
# the face, and 4.6 where they scar it.
_MOST_STEEPER = 4.5


def deblur(kind: str, image: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns `image` without the blur of a kind of `KINDS` that it is taken to have.

    Takes and returns float32 [H, W, 3] in [0, 1], not clipped. What has a hole in its `mask` [H, W, 1] stays as it is:
    a restorer leaves known pixels as they come. No gradient passes.
    """
    image = jax.lax.stop_gradient(image)
    sharp = deconvolve(KINDS[kind], image, estimate(KINDS[kind], image))
    return jnp.where(mask.max() > 0, image, sharp)


def is_plausible(image: jax.Array, sharp: jax.Array) -> jax.Array:
    """Whether `sharp` may be `image`, both [H, W, 3], without its blur, or is what noise became of a blur's inverse.

    The mean step between neighbours grows at most 4.5 times. Returns a bool.
    """
    before, after = (sum(jnp.abs(jnp.diff(values, axis=axis)).mean() for axis in (0, 1)) for values in (image, sharp))
    return after <= _MOST_STEEPER * before + 1e-3
