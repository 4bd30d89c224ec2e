"""A known blur undone by least squares, knowing nothing of what lies beyond the image's border.

The sharp image goes on beyond the border, as far as a blur reaches, and what it is there is sought as well
(deconvolution with unknown boundaries, Almeida & Figueiredo, IEEE TIP 2013): a filter that takes the border for
something, mirrored or repeated, makes rings through the whole image.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faceflax import conjugate_gradients
from faceflax.deblurring import fourier
from faceflax.deblurring.kinds import Kind

_ITERATIONS = 5  # more gain less than a network does from what is left
_MARGIN = 32  # pixels beyond the border, of 128
_START = 4.0  # of the filter to start from: its smoothness, as a multiple


def deconvolve(kind: Kind, image: jax.Array, blur: jax.Array) -> jax.Array:
    """Returns `image` [H, W, 3] without `blur`, float32 [3] of `kind`: in [0, 1] but for what overshoots.

    Minimises |blurred - image|² + s (|gradient|² + |sharp - mean|² / 100) by conjugate gradients on the Fourier
    transform, from a Wiener filter's answer and preconditioned by that filter, s being the kind's smoothness.
    """
    unit = min(image.shape[:2]) / 128
    planes = image.astype(jnp.float32).transpose(2, 0, 1)
    mean = planes.mean((1, 2), keepdims=True)
    planes -= mean
    corner = planes.shape[1:]
    shape = tuple(_even(size + round(_MARGIN * unit)) for size in corner)
    fy, fx = fourier.frequencies(shape)
    transfer = kind.transfer(blur, fy, fx)
    slopes = 4 * unit**2 * (np.square(np.sin(np.pi * fy)) + np.square(np.sin(np.pi * fx)))
    smoothness = kind.smoothness * (slopes + 0.01)  # what no pixel shows, far beyond the border, stays near the mean

    def normal(spectrum: jax.Array) -> jax.Array:
        seen = fourier.inverse(transfer * spectrum, shape, corner)
        return transfer * fourier.forward(seen, shape) + smoothness * spectrum

    start = transfer / (
        jnp.square(transfer) + _START * smoothness + 1e-3
    )  # weak: the border is not what it takes it for
    spectrum = start * fourier.forward(_joined(_joined(planes, 1, shape[0]), 2, shape[1]), shape)
    wanted = transfer * fourier.forward(planes, shape)
    weights = fourier.both_halves(shape)

    def dot(left: jax.Array, right: jax.Array) -> jax.Array:
        return (weights * left * right).sum((0, -2, -1), keepdims=True)

    filtered = 1 / (jnp.square(transfer) + smoothness)
    spectrum = conjugate_gradients.solve(normal, wanted, spectrum, dot, _ITERATIONS, filtered)
    return (fourier.inverse(spectrum, shape, corner) + mean).transpose(1, 2, 0)


def _joined(planes: jax.Array, axis: int, size: int) -> jax.Array:
    """Makes `planes` go on along `axis` to `size`, from their end to their beginning in a straight line."""
    more = size - planes.shape[axis]
    share = np.arange(1, more + 1, dtype=np.float32) / (more + 1)
    share = share.reshape([-1 if axis == number else 1 for number in range(3)])
    end = lax.slice_in_dim(planes, planes.shape[axis] - 1, None, axis=axis)
    beginning = lax.slice_in_dim(planes, 0, 1, axis=axis)
    return jnp.concatenate([planes, end + share * (beginning - end)], axis)


def _even(size: int) -> int:
    return size + size % 2
