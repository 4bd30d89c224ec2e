"""What a training image goes through before it is damaged, drawn from the image's own generator."""

import cv2
import numpy as np

from faceflax.datasets import images

_GAMMA = (-0.3, 0.9)  # logarithm of the tone curve's exponent: more images become dark than bright
_CAST = 0.2  # largest logarithm of a channel's gain


def random_square(image: np.ndarray, rng: np.random.Generator, smallest: float) -> np.ndarray:
    """Cuts out of the central square of `image` [H, W, 3] one of at least `smallest` times its side."""
    image = images.central_square(image)
    whole = image.shape[0]
    side = max(1, round(whole * rng.uniform(smallest, 1)))
    top, left = rng.integers(whole - side + 1, size=2)
    return image[top : top + side, left : left + side]


def random_tones(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shows `image`, uint8 [H, W, 3], in another light: under a tone curve, with a gain of each channel.

    Faces made by a generator are well lit. A restorer that saw no others takes a dark photograph for an underexposed
    one and lights it up, whatever its damage is.
    """
    curve = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(*_GAMMA))
    table = np.clip(curve * np.exp(rng.uniform(-_CAST, _CAST, 3)), 0, 1)
    return cv2.LUT(image, np.rint(255 * table).astype(np.uint8)[:, None])


def without_colour(image: np.ndarray) -> np.ndarray:
    """Returns `image`, uint8 RGB [H, W, 3], with its luminance in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
