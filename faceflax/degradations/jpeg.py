"""JPEG compression and decompression in the graph: what a baseline 4:2:0 encoder and decoder leave of a picture.

Follows ITU-T T.81 and the choices of libjpeg, which Pillow and OpenCV use: its colour rounding, chroma averaged over
2x2 pixels, the tables of Annex K scaled by quality, and "fancy" chroma upsampling. Entropy coding loses nothing and
is left out.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

# ITU-T T.81, Annex K, tables K.1 and K.2.
# fmt: off
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61,
        12, 12, 14, 19, 26, 58, 60, 55,
        14, 13, 16, 24, 40, 57, 69, 56,
        14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77,
        24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101,
        72, 92, 95, 98, 112, 100, 103, 99,
    ],
    np.float32,
)
_CHROMINANCE = np.array(
    [
        17, 18, 24, 47, 99, 99, 99, 99,
        18, 21, 26, 66, 99, 99, 99, 99,
        24, 26, 56, 99, 99, 99, 99, 99,
        47, 66, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
    ],
    np.float32,
)
# fmt: on


def _dct_matrix() -> np.ndarray:
    """The orthonormal 8x8 DCT-II of a block as one [64, 64] matrix that multiplies flattened blocks from the right."""
    frequency, position = np.mgrid[:8, :8]
    basis = np.cos((2 * position + 1) * frequency * np.pi / 16) * np.where(frequency == 0, np.sqrt(1 / 8), 0.5)
    return np.kron(basis, basis).T.astype(np.float32)


_DCT = _dct_matrix()


def quantisation_table(base: np.ndarray, quality: Array | float) -> Array:
    """Returns `base` scaled for `quality` (1..100) as libjpeg does: whole numbers from 1 to 255."""
    quality = jnp.clip(jnp.round(jnp.asarray(quality, jnp.float32)), 1, 100)
    percent = jnp.where(quality < 50, jnp.floor(5000 / quality), 200 - 2 * quality)
    return jnp.clip(jnp.floor((base * percent + 50) / 100), 1, 255)


def compress(image: Array, quality: Array | float) -> Array:
    """Returns `image` [H, W, 3] (RGB in [0, 1]) after a round trip through JPEG at `quality` (1..100, may be traced).

    The input is first rounded to 8 bits; the result lies on that grid too.
    """
    height, width, _ = image.shape
    pixels = jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0)
    pixels = jnp.pad(pixels, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    luma, blue, red = _to_ycc(pixels)
    planes = [luma, _halve(blue), _halve(red)]
    luminance, chrominance = quantisation_table(_LUMINANCE, quality), quantisation_table(_CHROMINANCE, quality)
    luma, blue, red = _code(planes, [luminance, chrominance, chrominance])
    pixels = _to_rgb(luma, _double(blue), _double(red))
    return pixels[:height, :width] / 255.0


def _to_ycc(pixels: Array) -> tuple[Array, Array, Array]:
    """Y, Cb, Cr of JFIF, rounded to whole numbers from 0 to 255."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    luma = jnp.round(0.299 * red + 0.587 * green + 0.114 * blue)
    cb = jnp.round(-0.168735892 * red - 0.331264108 * green + 0.5 * blue + 128.0)
    cr = jnp.round(0.5 * red - 0.418687589 * green - 0.081312411 * blue + 128.0)
    return luma, jnp.minimum(cb, 255.0), jnp.minimum(cr, 255.0)


def _to_rgb(luma: Array, cb: Array, cr: Array) -> Array:
    """The inverse of `_to_ycc`, rounded and clipped to 0..255."""
    cb, cr = cb - 128.0, cr - 128.0
    red = luma + jnp.round(1.402 * cr)
    green = luma + jnp.round(-0.344136286 * cb - 0.714136286 * cr)
    blue = luma + jnp.round(1.772 * cb)
    return jnp.clip(jnp.stack([red, green, blue], axis=-1), 0.0, 255.0)


def _halve(plane: Array) -> Array:
    """Averages 2x2 pixels; halves are rounded down and up in turn along a row, so that no colour drifts."""
    total = plane[0::2, 0::2] + plane[1::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 1::2]
    bias = 1.0 + np.arange(total.shape[1], dtype=np.float32) % 2
    return jnp.floor((total + bias) / 4.0)


def _double(plane: Array) -> Array:
    """Doubles both sides with a triangle filter: 3/4 of the nearer and 1/4 of the farther pixel, on each axis."""
    above = jnp.concatenate([plane[:1], plane[:-1]])
    below = jnp.concatenate([plane[1:], plane[-1:]])
    rows = jnp.stack([3.0 * plane + above, 3.0 * plane + below], axis=1).reshape(-1, plane.shape[1])
    left = jnp.concatenate([rows[:, :1], rows[:, :-1]], axis=1)
    right = jnp.concatenate([rows[:, 1:], rows[:, -1:]], axis=1)
    # Halves of a sixteenth are rounded up and down in turn, as in `_halve`.
    left, right = jnp.floor((3.0 * rows + left + 8.0) / 16.0), jnp.floor((3.0 * rows + right + 7.0) / 16.0)
    return jnp.stack([left, right], axis=2).reshape(rows.shape[0], -1)


def _code(planes: list[Array], tables: list[Array]) -> list[Array]:
    """Transforms, quantises and restores planes (sides multiples of 8); all blocks go through one matrix product."""
    blocks = [_to_blocks(plane) for plane in planes]
    steps = jnp.concatenate([jnp.broadcast_to(t, b.shape) for t, b in zip(tables, blocks, strict=True)])
    coefficients = jnp.matmul(jnp.concatenate(blocks) - 128.0, _DCT, precision="highest")
    coefficients = jnp.round(coefficients / steps) * steps
    pixels = jnp.matmul(coefficients, _DCT.T, precision="highest")
    pixels = jnp.clip(jnp.round(pixels + 128.0), 0.0, 255.0)
    ends = np.cumsum([block.shape[0] for block in blocks])[:-1]
    return [_from_blocks(b, p.shape) for b, p in zip(jnp.split(pixels, ends), planes, strict=True)]


def _to_blocks(plane: Array) -> Array:
    height, width = plane.shape
    return plane.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 64)


def _from_blocks(blocks: Array, shape: tuple[int, ...]) -> Array:
    height, width = shape
    return blocks.reshape(height // 8, width // 8, 8, 8).transpose(0, 2, 1, 3).reshape(height, width)
