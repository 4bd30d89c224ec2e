"""Things worn on the face: a surgical mask, and dark glasses.

The template is for faces aligned as FFHQ aligns them (Karras et al., CVPR 2019). Coordinates are parts of the image's
sides, measured from the middle of the width (`u`, to the right) and from the top (`v`, down). On such faces, mean of
300: eyes at u = -0.13 and 0.13, v = 0.465; tip of the nose at v = 0.61; mouth at v = 0.73; chin at v = 0.92; cheeks
end near u = -0.27 and 0.27 at the nose and near u = -0.2 and 0.2 at the mouth.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_EYE_U, _EYE_V = 0.13, 0.468
CLOTHS = {
    "blue": (0.53, 0.72, 0.84),
    "mint": (0.62, 0.83, 0.78),
    "white": (0.90, 0.91, 0.92),
    "black": (0.10, 0.10, 0.11),
    "rose": (0.88, 0.66, 0.70),
    "navy": (0.17, 0.22, 0.36),
}
"""Cloth as it is sold: its mean colour, RGB in [0, 1]."""


class Layer(NamedTuple):
    """A thing before the face: `covers` [H, W] of bool, `colour` [H, W, 3] in [0, 1]."""

    covers: Array
    colour: Array


def surgical_mask(
    key: Array, height: int, width: int, cloth: Array | int | None = None, texture: str = "pleats"
) -> Layer:
    """Draws a surgical mask with its straps over the nose, mouth and chin; place, size, tilt and cloth vary.

    `cloth` is a number of `CLOTHS`, or None for a random one; `texture` is one of `TEXTURES`.
    """
    shape_key, cloth_key = jax.random.split(key)
    u, v = _face_coordinates(shape_key, height, width, centre=(0.0, 0.73))
    side = jnp.abs(u)
    top = 0.60 - 0.055 * jnp.exp(-jnp.square(u / 0.075)) - 0.03 * jnp.square(u / 0.265)
    bottom = 0.955 - 0.205 * (side / 0.265) ** 2.5
    covers = (side < 0.265) & (v > top) & (v < bottom)
    straps = _line(side, v, (0.26, 0.585), (0.37, 0.51)) | _line(side, v, (0.255, 0.73), (0.37, 0.62))
    place = _Cloth(u, v, jnp.clip((v - top) / (bottom - top), 0.0, 1.0))
    return Layer(covers | straps, _cloth_colour(cloth_key, place, cloth, TEXTURES[texture]))


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


class _Cloth(NamedTuple):
    """Where on the cloth each pixel lies: template coordinates, and 0 at the upper edge to 1 at the lower one."""

    u: Array
    v: Array
    height: Array


def _cloth_colour(key: Array, place: _Cloth, cloth: Array | int | None, texture: "_Texture") -> Array:
    """Cloth with a texture, a seam along the upper edge, shade towards the sides and grain."""
    colour_key, shade_key, grain_key = jax.random.split(key, 3)
    draw = jax.random.uniform(shade_key, (4,))
    cloth = jax.random.randint(colour_key, (), 0, len(CLOTHS)) if cloth is None else cloth
    colour = jnp.asarray(np.array(list(CLOTHS.values()), np.float32))[cloth]
    colour = colour + 0.08 * (draw[:3] - 0.5)
    seam = -0.08 * (place.height < 0.06)
    shade = 1.0 - 0.35 * jnp.square(place.u / 0.265) + texture(place, draw[3]) + seam
    grain = 0.02 * jax.random.uniform(grain_key, place.u.shape, minval=-1.0, maxval=1.0)
    return jnp.clip(colour * shade[..., None] + grain[..., None], 0.0, 1.0)


def _plain(place: _Cloth, strength: Array) -> Array:
    return jnp.zeros_like(place.u)


def _pleats(place: _Cloth, strength: Array) -> Array:
    return 0.06 * strength * jnp.cos(2.0 * np.pi * 4.0 * place.height)


def _weave(place: _Cloth, strength: Array) -> Array:
    """Threads over and under each other, 40 to the face's width."""
    return (0.06 + 0.06 * strength) * jnp.cos(80.0 * np.pi * place.u) * jnp.cos(80.0 * np.pi * place.v)


def _stripes(place: _Cloth, strength: Array) -> Array:
    """Upright dark stripes, 12 to the face's width."""
    return -(0.3 + 0.3 * strength) * (jnp.cos(24.0 * np.pi * place.u) > 0.4)


def _dots(place: _Cloth, strength: Array) -> Array:
    """Dark dots in a lattice turned by 45 degrees."""
    lattice = jnp.cos(36.0 * np.pi * place.u) * jnp.cos(36.0 * np.pi * place.v)
    return -(0.3 + 0.3 * strength) * (lattice > 0.5)


_Texture = Callable[[_Cloth, Array], Array]

TEXTURES: dict[str, _Texture] = {
    "pleats": _pleats,
    "plain": _plain,
    "weave": _weave,
    "stripes": _stripes,
    "dots": _dots,
}
"""What is added to the cloth's brightness of 1, by the texture's name; `facemask` wears the first."""
