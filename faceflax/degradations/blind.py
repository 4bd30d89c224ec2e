"""The blind degradation: blur -> down -> noise -> JPEG -> resize back.

The model of GFPGAN (Wang et al., CVPR 2021, eq. 7), with its ranges at 512 pixels as severity 2: standard deviations
of the blur U(0.1, 10), shrinking by U(0.8, 8), noise U(0, 20), quality U(60, 100). Severity 1 halves them; severity 3
has the ranges of the harder published sets. Deviations of the blur are lengths and scale with the image. Where these
differ from the papers: a factor under 1 counts as 1, and the small picture's sides are never under 8 pixels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from faceflax import by_device
from faceflax.degradations import blur, jpeg, noise, resize

# One row a severity, 1 to 3.
_SIGMA = np.array([(0.1, 5.0), (0.1, 10.0), (0.1, 15.0)], np.float32)  # pixels at 512
_FACTOR = np.array([(0.8, 4.0), (0.8, 8.0), (0.8, 32.0)], np.float32)
_NOISE = np.array([(0.0, 10.0), (0.0, 20.0), (0.0, 20.0)], np.float32)  # of 255
_QUALITY = np.array([(75.0, 100.0), (60.0, 100.0), (30.0, 100.0)], np.float32)
_LEAST_SIZE = 8


class _Draw(NamedTuple):
    """What befalls one picture: deviations and the radius in pixels, `small` the sides of the shrunk picture."""

    radius: int
    is_round: Array
    sigma_x: Array
    sigma_y: Array
    angle: Array
    small: tuple[Array, Array]
    noise_key: Array
    noise: Array
    quality: Array


def degrade(key: Array, image: Array, severity: Array | float) -> Array:
    """Returns the degraded `image` [H, W, 3] in [0, 1]; `severity` is 1, 2 or 3 and may be traced.

    CPUs, which take pictures one by one, compute no more than this picture needs: a round blur is two small products,
    and what befalls the shrunk picture happens on a canvas little larger than it.
    """
    draw = _draw(key, *image.shape[:2], severity)

    def sparingly(image: Array) -> Array:
        canvases = _canvases(*image.shape[:2])
        branches = [lambda x, canvas=canvas: _on_canvas(x, canvas, draw) for canvas in canvases]
        return lax.switch(_first_that_fits(canvases, draw.small), branches, image)

    def wholly(image: Array) -> Array:
        return _damage_small(_shrink(image, image.shape[:2], draw), image.shape[:2], draw)

    return by_device.choose(image, cpu=sparingly, default=wholly)


def _draw(key: Array, height: int, width: int, severity: Array | float) -> _Draw:
    parameter_key, noise_key = jax.random.split(key)
    level = jnp.asarray(severity, jnp.int32) - 1
    draw = jax.random.uniform(parameter_key, (7,))

    def between(ends: Array, number: int) -> Array:
        return ends[0] + draw[number] * (ends[1] - ends[0])

    pixel = min(height, width) / 512
    sigma = jnp.asarray(_SIGMA)[level] * pixel
    is_round = draw[2] < 0.5
    sigma_x = between(sigma, 0)
    largest = max(1.0, min(height, width) / _LEAST_SIZE)
    factor = jnp.clip(between(jnp.minimum(jnp.asarray(_FACTOR)[level], largest), 4), 1.0, largest)
    return _Draw(
        radius=int(np.ceil(20 * pixel)) + 1,  # GFPGAN's 41x41 kernel at 512
        is_round=is_round,
        sigma_x=sigma_x,
        sigma_y=jnp.where(is_round, sigma_x, between(sigma, 1)),
        angle=np.pi * draw[3],
        small=(resize.small_size(height, factor), resize.small_size(width, factor)),
        noise_key=noise_key,
        noise=between(jnp.asarray(_NOISE)[level], 5),
        quality=between(jnp.asarray(_QUALITY)[level], 6),
    )


def _canvases(height: int, width: int) -> list[tuple[int, int]]:
    """Sides of the canvases that a shrunk picture may lie on: whole blocks of a JPEG file, and last the image's own."""
    parts = [tuple(-(-n // part // 16) * 16 for n in (height, width)) for part in (4, 2)]
    return [part for part in parts if part[0] < height and part[1] < width] + [(height, width)]


def _first_that_fits(canvases: list[tuple[int, int]], small: tuple[Array, Array]) -> Array:
    """The number of the least canvas for a picture with the sides `small`; of growing canvases the last always does.

    A decoder looks at the next pixel of colour, so two pixels past the picture must be there as on the full canvas.
    """
    fits = [(small[0] + 2 <= height) & (small[1] + 2 <= width) for height, width in canvases[:-1]]
    return sum((~fit).astype(jnp.int32) for fit in fits)


def _on_canvas(image: Array, canvas: tuple[int, int], draw: _Draw) -> Array:
    """The whole degradation by way of `canvas`, with a round blur as a part of the shrinking."""
    branches = [lambda image, way=way: way(image, canvas, draw) for way in (_shrink_round, _shrink)]
    return _damage_small(lax.cond(draw.is_round, *branches, image), image.shape[:2], draw)


def _shrink(image: Array, canvas: tuple[int, int], draw: _Draw) -> Array:
    """Returns the image blurred and shrunk, on `canvas`."""
    kernel = blur.gaussian_kernel(draw.radius, draw.sigma_x, draw.sigma_y, draw.angle)
    return resize.apply(*_down(image, canvas, draw), blur.filter2d(image, kernel))


def _shrink_round(image: Array, canvas: tuple[int, int], draw: _Draw) -> Array:
    """As `_shrink` where the blur is round: two products with small matrices."""
    blurs = [blur.gaussian_matrix(n, draw.radius, draw.sigma_x) for n in image.shape[:2]]
    down = zip(_down(image, canvas, draw), blurs, strict=True)
    return resize.apply(*(jnp.matmul(weights, matrix, precision="highest") for weights, matrix in down), image)


def _down(image: Array, canvas: tuple[int, int], draw: _Draw) -> list[Array]:
    sides = zip(image.shape[:2], canvas, draw.small, strict=True)
    return [resize.bilinear_weights(side, whole, part, whole) for whole, side, part in sides]


def _damage_small(small: Array, size: tuple[int, int], draw: _Draw) -> Array:
    """Adds noise to the shrunk picture on its canvas, compresses it and enlarges it to `size`."""
    canvas = small.shape[:2]
    # Noise is that of the image's own width, so that the canvas does not show in it.
    small = jnp.pad(small, ((0, 0), (0, size[1] - canvas[1]), (0, 0)))
    small = noise.add_gaussian(draw.noise_key, small, draw.noise)[:, : canvas[1]]
    sides = zip(size, canvas, draw.small, strict=True)
    up = [resize.bilinear_weights(whole, side, whole, part) for whole, side, part in sides]
    return resize.apply(*up, jpeg.compress(small, draw.quality))
