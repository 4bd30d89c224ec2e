"""The blind degradation: blur -> down -> noise -> JPEG -> resize back.

The model of GFPGAN (Wang et al., CVPR 2021, eq. 7), with its ranges at 512 pixels as severity 2: standard deviations
of the blur U(0.1, 10), shrinking by U(0.8, 8), noise U(0, 20), quality U(60, 100). Severity 1 halves them; severity 3
has the ranges of the harder published sets. Deviations of the blur are lengths and scale with the image. Where these
differ from the papers: a factor under 1 counts as 1, and the small picture's sides are never under 8 pixels.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from faceflax.degradations import blur, jpeg, noise, resize

# One row a severity, 1 to 3.
_SIGMA = np.array([(0.1, 5.0), (0.1, 10.0), (0.1, 15.0)], np.float32)  # pixels at 512
_FACTOR = np.array([(0.8, 4.0), (0.8, 8.0), (0.8, 32.0)], np.float32)
_NOISE = np.array([(0.0, 10.0), (0.0, 20.0), (0.0, 20.0)], np.float32)  # of 255
_QUALITY = np.array([(75.0, 100.0), (60.0, 100.0), (30.0, 100.0)], np.float32)
_LEAST_SIZE = 8


def degrade(key: Array, image: Array, severity: Array | float) -> Array:
    """Returns the degraded `image` [H, W, 3] in [0, 1]; `severity` is 1, 2 or 3 and may be traced."""
    height, width, _ = image.shape
    parameter_key, noise_key = jax.random.split(key)
    level = jnp.asarray(severity, jnp.int32) - 1
    draw = jax.random.uniform(parameter_key, (7,))

    def between(ends: Array, number: int) -> Array:
        return ends[0] + draw[number] * (ends[1] - ends[0])

    pixel = min(height, width) / 512
    sigma = jnp.asarray(_SIGMA)[level] * pixel
    sigma_x = between(sigma, 0)
    sigma_y = jnp.where(draw[2] < 0.5, sigma_x, between(sigma, 1))  # isotropic, half of the time
    radius = int(np.ceil(20 * pixel)) + 1  # GFPGAN's 41x41 kernel at 512
    image = blur.filter2d(image, blur.gaussian_kernel(radius, sigma_x, sigma_y, np.pi * draw[3]))

    largest = max(1.0, min(height, width) / _LEAST_SIZE)
    factor = jnp.clip(between(jnp.minimum(jnp.asarray(_FACTOR)[level], largest), 4), 1.0, largest)
    small = [resize.small_size(size, factor) for size in (height, width)]
    down = [resize.bilinear_weights(n, n, s, n) for n, s in zip((height, width), small, strict=True)]
    up = [resize.bilinear_weights(n, n, n, s) for n, s in zip((height, width), small, strict=True)]
    image = resize.apply(*down, image)
    image = noise.add_gaussian(noise_key, image, between(jnp.asarray(_NOISE)[level], 5))
    image = jpeg.compress(image, between(jnp.asarray(_QUALITY)[level], 6))
    return resize.apply(*up, image)
