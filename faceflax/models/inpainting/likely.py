"""Holes filled with the likeliest face: the mean of a Gaussian over aligned faces, given the pixels that are known.

Small faces are a mean, plus components with a variance each, plus white noise (after the probabilistic principal
components of Tipping & Bishop, J. R. Stat. Soc. B 1999), fitted to faces by `experiments.fit_faces`. What a hole hides
follows from what is seen by a linear system for each image; no network has to learn how parts of a face go together.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from faceflax import conjugate_gradients
from faceflax.models import resampling, weights
from faceflax.models.inpainting.smooth import fill_holes

FILES = {
    "face": Path(__file__).parent / "faces.safetensors",
    "coarse_face": Path(__file__).parent / "coarse_faces.safetensors",
}
"""The Gaussians, as `experiments.fit_faces` wrote them: faces of 32 pixels, and of 16 for networks with no room."""

_NOISE = 0.01  # variance of what the components leave out: chosen on photographs; 0.005 to 0.02 give the same
_ITERATIONS = 40  # leave less than 0.005 of the range, whatever is hidden; what is filled misses the face by 0.1


class Faces(NamedTuple):
    """A Gaussian over faces with values in [0, 1]: float32 numpy arrays.

    Attributes:
      mean: [S, S, 3].
      components: [S * S * 3, K], columns that are orthonormal but for the rounding in the file.
      variances: [K], along each of them, not less what the noise has of it.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray


@functools.cache
def load(name: str) -> Faces:
    """Returns one of the Gaussians that come with the package, by its name in `FILES`."""
    params = weights.read(FILES[name]).params
    mean, signs = params["mean"], params["signs"]
    left = params["components"]["kernel"].reshape(len(mean), -1, 3, len(signs))
    components = np.concatenate([left, signs * left[:, ::-1]], 1).reshape(mean.size, -1)
    return Faces(mean, components, params["variances"])


def halve(components: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what files hold of components [size * size * 3, K] that are each its own mirror image, or minus that.

    These are the left halves [size * size / 2 * 3, K], and 1 or -1 [K].
    """
    pictures = components.reshape(size, size, 3, -1)
    left = pictures[:, : size // 2].reshape(size * size // 2 * 3, -1)
    return left, np.sign((pictures * pictures[:, ::-1]).sum((0, 1, 2)))


def fill_with_face(images: Array, mask: Array, name: str = "face") -> Array:
    """Fills missing pixels with those of the likeliest face, fitted to what is around; known pixels stay, exactly.

    The difference between the known pixels and that face goes on into the hole smoothly (`fill_holes`), so that there
    is no seam. A face without colour stays without. For faces in the frame that the Gaussian was fitted to (FFHQ's); of
    anything else it knows nothing. No gradient passes.

    Args:
      images: [B, H, W, 3] in [0, 1]; one without any known pixel becomes the mean face.
      mask: [B, H, W, 1], 1 where pixels are missing.
      name: of the Gaussian, one of `FILES`.

    Returns:
      float32 [B, H, W, 3], not clipped.
    """
    faces = load(name)

    def fill(images: Array, mask: Array) -> Array:
        likely = _enlarge(_likeliest(faces, images, mask), images.shape[1:3])
        known = mask == 0
        colourless = jnp.all((images == images[..., :1]) | ~known, axis=(1, 2, 3), keepdims=True)
        is_grey = colourless & known.any((1, 2, 3), keepdims=True)
        likely = jnp.where(is_grey, likely.mean(-1, keepdims=True), likely)
        return jnp.where(mask > 0, likely + fill_holes(images - likely, mask), images)

    images = lax.stop_gradient(images.astype(jnp.float32))
    return lax.cond(mask.any(), fill, lambda images, mask: images, images, mask)


def _likeliest(faces: Faces, images: Array, mask: Array) -> Array:
    """The mean [B, S, S, 3] of the Gaussian, given the known pixels; a cell counts by its share of them."""
    components = jnp.asarray(faces.components)
    share = _shrink(1 - mask, len(faces.mean))
    seen = _shrink(images * (1 - mask), len(faces.mean)) / jnp.maximum(share, 1e-6)
    count = jnp.repeat(share, 3, -1).reshape(-1, faces.mean.size)
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def normal(scores: Array) -> Array:
        return product(count * product(scores, components.T), components) + _NOISE / faces.variances * scores

    def dot(left: Array, right: Array) -> Array:
        return (left * right).sum(-1, keepdims=True)

    wanted = product(count * (seen - faces.mean).reshape(count.shape), components)
    # Were the known pixels spread evenly, the system would be diagonal, with their share on it; by trial, its cube does
    # better. Variances would lead there in half of the steps, but in float32 results then differ by 0.02 of the range.
    diagonal = share.mean((1, 2)) ** 3 + _NOISE / faces.variances
    scores = conjugate_gradients.solve(normal, wanted, jnp.zeros_like(wanted), dot, _ITERATIONS, 1 / diagonal)
    return faces.mean + product(scores, components.T).reshape(seen.shape)


def _shrink(images: Array, size: int) -> Array:
    rows, columns = (resampling.averages(size, side) for side in images.shape[1:3])
    return _resample(rows, columns, images)


def _enlarge(images: Array, shape: tuple[int, int]) -> Array:
    return _resample(*(resampling.linear(side, images.shape[1]) for side in shape), images)


def _resample(rows: np.ndarray, columns: np.ndarray, images: Array) -> Array:
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, images, precision=lax.Precision.HIGHEST)
