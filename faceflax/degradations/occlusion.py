"""Holes of known place: a box, or free-form strokes of a brush (as Yu et al., ICCV 2019, draw them)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

HOLE_COLOUR = 0.5  # what fills a hole
_STROKES = 6
_SEGMENTS = 4  # of a stroke


def draw_hole(key: Array, height: int, width: int, share: Array | float) -> Array:
    """Returns a mask [height, width] of 0 and 1 (1: hole), a box or strokes with equal chance.

    `share` (0 to 0.6) is the part of the area that the hole takes, met to within a row of a box's pixels:
    0.01 at 128 pixels.
    """
    kind, box_key, stroke_key = jax.random.split(key, 3)
    box = _box_distance(box_key, height, width, share)
    strokes = _stroke_distance(stroke_key, height, width, share)
    distance = jnp.where(jax.random.bernoulli(kind), box, strokes)
    return (distance < _threshold(distance, share)).astype(jnp.float32)


def _threshold(distance: Array, share: Array | float) -> Array:
    """The value that a part `share` of the pixels lies under, found by bisection (sorting is slower)."""
    low, high = jnp.zeros(()), distance.max()
    for _ in range(16):
        middle = 0.5 * (low + high)
        too_few = jnp.mean(distance < middle) < share
        low, high = jnp.where(too_few, middle, low), jnp.where(too_few, high, middle)
    return high


def _pixel_centres(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (x + 0.5) / width, (y + 0.5) / height


def _box_distance(key: Array, height: int, width: int, share: Array | float) -> Array:
    """Distance from the centre of a box of random shape, in box sides; the box of area `share` lies in the image."""
    draw = jax.random.uniform(key, (3,))
    stretch = 2.0 ** (draw[0] - 0.5)  # aspect ratios from 1:2 to 2:1, evenly on a log scale
    box_width, box_height = jnp.sqrt(share) * stretch, jnp.sqrt(share) / stretch
    x, y = _pixel_centres(height, width)
    centre_x = 0.5 * box_width + draw[1] * (1.0 - box_width)
    centre_y = 0.5 * box_height + draw[2] * (1.0 - box_height)
    return jnp.maximum(jnp.abs(x - centre_x) / box_width, jnp.abs(y - centre_y) / box_height)


def _stroke_distance(key: Array, height: int, width: int, share: Array | float) -> Array:
    """Distance from the nearest stroke, in image sides; there are more strokes the larger the share."""
    start_key, angle_key, length_key = jax.random.split(key, 3)
    start = jax.random.uniform(start_key, (_STROKES, 1, 2), minval=0.1, maxval=0.9)
    turn = jax.random.uniform(angle_key, (_STROKES, _SEGMENTS), minval=-1.0, maxval=1.0)
    turn = turn * jnp.array([np.pi] + [2.0] * (_SEGMENTS - 1))
    angle = jnp.cumsum(turn, axis=1)
    length = jax.random.uniform(length_key, (_STROKES, _SEGMENTS), minval=0.1, maxval=0.3)
    step = length[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    points = jnp.clip(jnp.concatenate([start, start + jnp.cumsum(step, axis=1)], axis=1), 0.0, 1.0)
    x, y = _pixel_centres(height, width)
    nearest = jnp.full((height, width), 4.0)
    active = jnp.ceil(share * 2 * _STROKES)
    for stroke in range(_STROKES):
        for segment in range(_SEGMENTS):
            squared = _squared_distance(x, y, points[stroke, segment], points[stroke, segment + 1])
            nearest = jnp.minimum(nearest, jnp.where(stroke < active, squared, 4.0))
    return jnp.sqrt(nearest)


def _squared_distance(x: np.ndarray, y: np.ndarray, start: Array, end: Array) -> Array:
    """Squared distance of points to the segment from `start` to `end`, each (x, y)."""
    along = end - start
    place = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / jnp.maximum(jnp.sum(along**2), 1e-8)
    place = jnp.clip(place, 0.0, 1.0)
    return jnp.square(x - start[0] - place * along[0]) + jnp.square(y - start[1] - place * along[1])
