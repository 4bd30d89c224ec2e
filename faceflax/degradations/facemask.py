"""Things worn on the face: a surgical mask, and dark glasses.

The template is for faces aligned as FFHQ aligns them (Karras et al., CVPR 2019). Coordinates are parts of the image's
sides, measured from the middle of the width (`u`, to the right) and from the top (`v`, down). On such faces, mean of
300: eyes at u = -0.13 and 0.13, v = 0.465; tip of the nose at v = 0.61; mouth at v = 0.73; chin at v = 0.92; cheeks
end near u = -0.27 and 0.27 at the nose and near u = -0.2 and 0.2 at the mouth.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_EYE_U, _EYE_V = 0.13, 0.468
# Cloth as it is sold: surgical blue, mint, white, black, rose, navy.
_CLOTH = np.array(
    [
        (0.53, 0.72, 0.84),
        (0.62, 0.83, 0.78),
        (0.90, 0.91, 0.92),
        (0.10, 0.10, 0.11),
        (0.88, 0.66, 0.70),
        (0.17, 0.22, 0.36),
    ],
    np.float32,
)


class Layer(NamedTuple):
    """A thing before the face: `covers` [H, W] of bool, `colour` [H, W, 3] in [0, 1]."""

    covers: Array
    colour: Array


def surgical_mask(key: Array, height: int, width: int) -> Layer:
    """Draws a surgical mask with its straps over the nose, mouth and chin; place, size, tilt and cloth vary."""
    shape_key, cloth_key = jax.random.split(key)
    u, v = _face_coordinates(shape_key, height, width, centre=(0.0, 0.73))
    side = jnp.abs(u)
    top = 0.60 - 0.055 * jnp.exp(-jnp.square(u / 0.075)) - 0.03 * jnp.square(u / 0.265)
    bottom = 0.955 - 0.205 * (side / 0.265) ** 2.5
    cloth = (side < 0.265) & (v > top) & (v < bottom)
    straps = _line(side, v, (0.26, 0.585), (0.37, 0.51)) | _line(side, v, (0.255, 0.73), (0.37, 0.62))
    return Layer(cloth | straps, _cloth_colour(cloth_key, u, v, top, bottom))


def dark_glasses(key: Array, height: int, width: int) -> Layer:
    """Draws dark glasses over the eyes; place, size, tilt, tint and roundness vary."""
    shape_key, look_key = jax.random.split(key)
    u, v = _face_coordinates(shape_key, height, width, centre=(0.0, _EYE_V))
    look = jax.random.uniform(look_key, (4,))
    side = jnp.abs(u)
    roundness = 2.2 + 2.0 * look[0]
    lens = (jnp.abs(side - _EYE_U) / 0.105) ** roundness + (jnp.abs(v - _EYE_V - 0.01) / 0.072) ** roundness < 1.0
    bridge = (side < 0.04) & (jnp.abs(v - _EYE_V + 0.012) < 0.008)
    arms = _line(side, v, (0.225, _EYE_V - 0.02), (0.36, _EYE_V + 0.01))
    tint = 0.03 + 0.10 * look[1:4]
    shine = 0.18 * jnp.clip((_EYE_V + 0.07 - v) / 0.14, 0.0, 1.0) * (0.5 + 0.5 * jnp.cos(20.0 * (u + 0.5 * v)))
    return Layer(lens | bridge | arms, jnp.clip(tint + shine[..., None], 0.0, 1.0))


def _face_coordinates(key: Array, height: int, width: int, centre: tuple[float, float]) -> tuple[Array, Array]:
    """Template coordinates of all pixels after a random shift, scale and tilt about `centre`."""
    draw = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = (x + 0.5) / width - 0.5 - centre[0] - 0.015 * draw[0]
    v = (y + 0.5) / height - centre[1] - 0.012 * draw[1]
    tilt = 0.06 * draw[2]
    u, v = u * jnp.cos(tilt) + v * jnp.sin(tilt), v * jnp.cos(tilt) - u * jnp.sin(tilt)
    return u / (1.0 + 0.06 * draw[3]) + centre[0], v / (1.0 + 0.05 * draw[4]) + centre[1]


def _line(u: Array, v: Array, start: tuple[float, float], end: tuple[float, float]) -> Array:
    """Pixels within a strap's half width of a straight line that runs to the right."""
    slope = (end[1] - start[1]) / (end[0] - start[0])
    return (u > start[0]) & (u < end[0]) & (jnp.abs(v - start[1] - slope * (u - start[0])) < 0.007)


def _cloth_colour(key: Array, u: Array, v: Array, top: Array, bottom: Array) -> Array:
    """Cloth with pleats, a seam along the upper edge, shade towards the sides and a weave."""
    colour_key, shade_key, weave_key = jax.random.split(key, 3)
    draw = jax.random.uniform(shade_key, (4,))
    colour = jnp.asarray(_CLOTH)[jax.random.randint(colour_key, (), 0, len(_CLOTH))]
    colour = colour + 0.08 * (draw[:3] - 0.5)
    height = jnp.clip((v - top) / (bottom - top), 0.0, 1.0)
    pleats = 0.06 * draw[3] * jnp.cos(2.0 * np.pi * 4.0 * height)
    seam = -0.08 * (height < 0.06)
    shade = 1.0 - 0.35 * jnp.square(u / 0.265) + pleats + seam
    weave = 0.02 * jax.random.uniform(weave_key, u.shape, minval=-1.0, maxval=1.0)
    return jnp.clip(colour * shade[..., None] + weave[..., None], 0.0, 1.0)
