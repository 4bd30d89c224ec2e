"""What a face encoder is shown of a face in training: another frame, another light.

Faces of the training sets are aligned as FFHQ aligns them. In use they come from other crops: tighter ones, tilted,
stretched to a square, lit from a side. All is drawn for each image alone, by the key and its index.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import ndimage

_SIDE = (0.55, 1.05)  # of the window cut out, as a share of the image's
_ASPECT = 0.25  # largest logarithm of the window's width over its height
_SHIFT = 0.05  # largest shift of the window's centre, as a share of the image's side
_DOWN = 0.16  # how far a tight window lies below the middle, where the face is: 0.57 at side 0.55
_TILT = np.pi / 15
_GAMMA = 0.4  # largest logarithm of the exponent of the tone curve
_CAST = 0.15  # largest logarithm of a channel's gain
_RAMP = 0.5  # largest share of light that falls off to one side
_GREY = 0.5  # share of images without colour
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def view(key: Array, image: Array, index: Array, size: int) -> Array:
    """Returns random windows of `image` [B, H, W, 3] in random light, half of them grey: [B, size, size, 3] in [0, 1].

    Image i draws with `fold_in(key, index[i])`. What lies outside of an image repeats its edge.
    """

    def one(image: Array, index: Array) -> Array:
        frame_key, light_key, grey_key = jax.random.split(jax.random.fold_in(key, index), 3)
        image = _relight(light_key, _reframe(frame_key, image, size))
        return jnp.where(jax.random.uniform(grey_key) < _GREY, (image @ _LUMINANCE)[..., None], image)

    return jax.vmap(one)(image, index)


def _reframe(key: Array, image: Array, size: int) -> Array:
    """Samples a window [size, size, 3] of `image` [H, W, 3], bilinearly."""
    side, aspect, right, down, tilt = jax.random.uniform(key, (5,), minval=-1.0)
    side = _SIDE[0] + (_SIDE[1] - _SIDE[0]) * (side + 1) / 2
    stretch = jnp.exp(_ASPECT / 2 * aspect)
    centre_x, centre_y = 0.5 + _SHIFT * right, 0.5 + _SHIFT * down + _DOWN * (1 - side)
    places = (np.arange(size) + 0.5) / size - 0.5
    x, y = side * stretch * places[None, :], side / stretch * places[:, None]
    cosine, sine = jnp.cos(_TILT * tilt), jnp.sin(_TILT * tilt)
    height, width = image.shape[:2]
    rows = (centre_y + sine * x + cosine * y) * height - 0.5
    columns = (centre_x + cosine * x - sine * y) * width - 0.5
    sample = lambda channel: ndimage.map_coordinates(channel, [rows, columns], order=1, mode="nearest")  # noqa: E731
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)


def _relight(key: Array, image: Array) -> Array:
    """Bends the tones of `image` [S, S, 3], by channel a little, and lets the light fall off along a direction."""
    cast_key, key = jax.random.split(key)
    cast = jnp.exp(_CAST * jax.random.uniform(cast_key, (3,), minval=-1.0))
    gamma, ramp, angle = jax.random.uniform(key, (3,))
    places = np.linspace(-0.5, 0.5, len(image))
    along = jnp.cos(2 * np.pi * angle) * places[None, :] + jnp.sin(2 * np.pi * angle) * places[:, None]
    toned = jnp.clip(image, 1e-3, 1.0) ** jnp.exp(_GAMMA * (2 * gamma - 1))
    light = 1.0 - _RAMP * ramp * (0.5 + along / np.sqrt(2))
    return jnp.clip(toned * cast * light[..., None], 0.0, 1.0)
