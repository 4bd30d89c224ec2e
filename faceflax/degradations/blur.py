"""Blur by any small kernel, and the kernels: Gaussians of any shape and the line of a moving camera.

Kernels have a fixed radius and traced parameters, so that one compiled program serves every severity. Borders are
mirrored without repeating the edge pixel (`cv2.BORDER_REFLECT_101`).
"""

import jax.numpy as jnp
import numpy as np
from jax import Array


def filter2d(image: Array, kernel: Array) -> Array:
    """Convolves every channel of `image` [H, W, C] with `kernel` [2R+1, 2R+1]; R must be less than H and W.

    The product is taken in the Fourier domain: rotated Gaussians and lines are not separable, and XLA's convolutions
    of single channels are slow on CPUs (0.25 ms for a 128x128 image this way).
    """
    height, width, _ = image.shape
    radius = kernel.shape[0] // 2
    planes = jnp.pad(image.transpose(2, 0, 1), ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    shape = (_fast_size(height + 2 * radius), _fast_size(width + 2 * radius))
    spectrum = jnp.fft.rfft2(planes, s=shape) * jnp.fft.rfft2(kernel, s=shape)
    planes = jnp.fft.irfft2(spectrum, s=shape)[:, 2 * radius :, 2 * radius :]
    return planes[:, :height, :width].transpose(1, 2, 0)


def _fast_size(size: int) -> int:
    """The least even number from `size` on without a prime factor over 5: FFTs of such lengths are fast."""
    while not _is_fast(size):
        size += 1
    return size


def _is_fast(size: int) -> bool:
    if size % 2:
        return False
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size == 1


def gaussian_kernel(radius: int, sigma_x: Array | float, sigma_y: Array | float, angle: Array | float = 0.0) -> Array:
    """Returns a Gaussian [2*radius+1, 2*radius+1] that sums to 1.

    `sigma_x` and `sigma_y` (pixels, over 0) are its standard deviations along axes turned by `angle` (radians, from
    the x axis towards the y axis, which points down).
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    along = x * jnp.cos(angle) + y * jnp.sin(angle)
    across = y * jnp.cos(angle) - x * jnp.sin(angle)
    kernel = jnp.exp(-0.5 * (jnp.square(along / sigma_x) + jnp.square(across / sigma_y)))
    return kernel / kernel.sum()


def line_kernel(radius: int, length: Array | float, angle: Array | float) -> Array:
    """Returns a straight line [2*radius+1, 2*radius+1] through the centre that sums to 1.

    `length` in pixels (at most 2*radius - 1), `angle` in radians as for `gaussian_kernel`. The line is a row of
    evenly spaced points, four a pixel of the longest line, each shared bilinearly among the four pixels around it.
    """
    count = 8 * radius
    offset = ((np.arange(count, dtype=np.float32) + 0.5) / count - 0.5) * length
    pixel = np.arange(-radius, radius + 1, dtype=np.float32)
    columns = jnp.maximum(0.0, 1.0 - jnp.abs(pixel - (offset * jnp.cos(angle))[:, None]))
    rows = jnp.maximum(0.0, 1.0 - jnp.abs(pixel - (offset * jnp.sin(angle))[:, None]))
    return jnp.matmul(rows.T, columns, precision="highest") / count
