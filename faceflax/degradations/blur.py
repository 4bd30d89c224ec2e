"""Blur by any small kernel, and the kernels: Gaussians of any shape and the line of a moving camera.

Kernels have a fixed radius and traced parameters, so that one compiled program serves every severity. Borders are
mirrored without repeating the edge pixel (`cv2.BORDER_REFLECT_101`).
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def filter2d(image: Array, kernel: Array) -> Array:
    """Convolves every channel of `image` [H, W, C] with `kernel` [2R+1, 2R+1]; R must be less than H and W.

    The product is taken in the Fourier domain: rotated Gaussians and lines are not separable, and XLA's convolutions
    of single channels are slow on CPUs.
    """
    height, width, _ = image.shape
    radius = kernel.shape[0] // 2
    shape = (_fast_size(height + 2 * radius), _fast_size(width + 2 * radius))
    planes = _surround(_surround(image.transpose(2, 0, 1), 1, radius, shape[0]), 2, radius, shape[1])
    spectrum = jnp.fft.rfft2(planes) * _spectrum(kernel, shape)
    planes = jnp.fft.irfft2(spectrum, s=shape)
    return planes[:, :height, :width].transpose(1, 2, 0)


def _surround(planes: Array, axis: int, radius: int, size: int) -> Array:
    """Mirrors both borders of `planes` along `axis`, whose length becomes `size`: what precedes the picture ends it."""
    length = planes.shape[axis]

    def part(start: int, stop: int) -> Array:
        return lax.slice_in_dim(planes, start, stop, axis=axis)

    after, before = part(length - 1 - radius, length - 1), part(1, 1 + radius)
    gap = np.zeros((*planes.shape[:axis], size - length - 2 * radius, *planes.shape[axis + 1 :]), np.float32)
    return jnp.concatenate([planes, jnp.flip(after, axis), gap, jnp.flip(before, axis)], axis)


def _spectrum(kernel: Array, shape: tuple[int, int]) -> Array:
    """The Fourier transform of `kernel` about its middle, as `rfft2` lays it out for images of `shape`.

    As products: a transform of so few numbers among zeros would cost as much as that of a channel.
    """
    rows = _waves(shape[0], shape[0], kernel.shape[0] // 2)
    columns = _waves(shape[1], shape[1] // 2 + 1, kernel.shape[0] // 2)
    product = jnp.matmul(jnp.matmul(rows, kernel, precision="highest"), columns.T, precision="highest")
    (cos_cos, cos_sin), (sin_cos, sin_sin) = (jnp.split(half, 2, axis=1) for half in jnp.split(product, 2))
    return lax.complex(cos_cos - sin_sin, -cos_sin - sin_cos)


def _waves(size: int, count: int, radius: int) -> np.ndarray:
    """Cosines, then sines, of the first `count` frequencies of `size`, at -radius to radius: [2*count, 2*radius+1]."""
    angle = 2 * np.pi / size * np.outer(np.arange(count), np.arange(-radius, radius + 1))
    return np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32)


def _fast_size(size: int) -> int:
    """The least even number from `size` on without a prime factor over 7: FFTs of such lengths are fast."""
    while not _is_fast(size):
        size += 1
    return size


def _is_fast(size: int) -> bool:
    if size % 2:
        return False
    for factor in (2, 3, 5, 7):
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


def jagged_line_kernel(radius: int, length: Array | float, angle: Array | float) -> Array:
    """Returns the line of `line_kernel` without shading: of each column, or row where it is steep, the nearest pixel.

    That is how `cv2.line` draws it, its ends rounded to pixels.
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    end_x, end_y = (jnp.round((length - 1) / 2 * turn(angle)) for turn in (jnp.cos, jnp.sin))
    is_steep = jnp.abs(end_y) > jnp.abs(end_x)
    along, across = jnp.where(is_steep, y, x), jnp.where(is_steep, x, y)
    reach, rise = jnp.where(is_steep, end_y, end_x), jnp.where(is_steep, end_x, end_y)
    slope = rise / jnp.where(reach == 0, 1.0, reach)
    kernel = ((jnp.abs(along) <= jnp.abs(reach)) & (across == jnp.round(slope * along))).astype(jnp.float32)
    return kernel / kernel.sum()


def gaussian_matrix(size: int, radius: int, sigma: Array | float) -> Array:
    """Returns the matrix [size, size] that blurs one axis as `filter2d` does with a round `gaussian_kernel`.

    Of a round Gaussian the blur of an image is the product with this matrix along rows and along columns.
    """
    offset = np.arange(-radius, size + radius)[None, :] - np.arange(size)[:, None]
    weights = jnp.where(abs(offset) <= radius, jnp.exp(-0.5 * jnp.square(offset.astype(np.float32) / sigma)), 0.0)
    mirror = np.eye(size, dtype=np.float32)[np.pad(np.arange(size), radius, mode="reflect")]
    return jnp.matmul(weights / weights.sum(axis=1, keepdims=True), mirror, precision="highest")
