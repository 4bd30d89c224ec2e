"""Random faces, a function of a key alone: who is drawn, and how one person differs from picture to picture."""

import jax
import jax.numpy as jnp

from faceflax import by_device
from faceflax.models.face_prior.network import DIMENSION, NUM_STYLES, Params, map_to_style, truncate
from faceflax.models.face_prior.synthesis import synthesise

PSI = (0.55, 0.95)
"""Truncation is drawn evenly from here: nearer to 0 lies the mean face, beyond 1 lie artefacts."""

PSI_OF_PEOPLE = (0.9, 1.0)
"""The same where people are to be told apart: near the mean all faces resemble each other."""

# Styles before the first of these (4 and 8 pixels) say how the head is held, hair and glasses; from the second on (64
# pixels and more) light, colour and texture. Between them lies who it is.
_FIRST_SHAPE, _FIRST_FINE = 4, 10
# How far the styles of a picture may lie from the person's, as a share of the way to another face's.
_POSE_STEP, _SHAPE_STEP = 0.5, 0.2


def draw_style(params: Params, key: jax.Array, psi: tuple[float, float] = PSI) -> jax.Array:
    """Returns the style [512] of the face of `key`."""
    z_key, psi_key = jax.random.split(key)
    z = jax.random.normal(z_key, (1, DIMENSION))
    amount = jax.random.uniform(psi_key, minval=psi[0], maxval=psi[1])
    return truncate(params, map_to_style(params, z), amount)[0]


def mix(coarse: jax.Array, fine: jax.Array, first_fine: int = _FIRST_FINE) -> jax.Array:
    """Returns the styles [..., 23, 512] of a face with the shape of one style [..., 512] and the colours of another."""
    is_coarse = (jnp.arange(NUM_STYLES) < first_fine)[:, None]
    return jnp.where(is_coarse, coarse[..., None, :], fine[..., None, :])


def draw_picture(params: Params, key: jax.Array, person: jax.Array, picture: jax.Array) -> jax.Array:
    """Returns the styles [23, 512] of one of the pictures of a person, by their numbers (int32 scalars).

    The person's style is moved towards those of other faces, drawn for each picture: by any amount in the fine layers,
    by at most half of the way in the coarsest, by a fifth in between.
    """
    person_key = jax.random.fold_in(key, person)
    own = draw_style(params, person_key, PSI_OF_PEOPLE)
    coarse_key, fine_key, amount_key = jax.random.split(jax.random.fold_in(person_key, picture + 1), 3)
    coarse, fine = (draw_style(params, each, PSI) for each in (coarse_key, fine_key))
    pose, shape, light = jax.random.uniform(amount_key, (3,))
    posed, shaped = own + _POSE_STEP * pose * (coarse - own), own + _SHAPE_STEP * shape * (coarse - own)
    is_pose = (jnp.arange(NUM_STYLES) < _FIRST_SHAPE)[:, None]
    return jnp.where(is_pose, posed, mix(shaped, own + light * (fine - own)))


def to_bytes(images: jax.Array) -> jax.Array:
    """Returns uint8 images of those in [-1, 1], clipped and rounded."""
    return jnp.clip(images * 127.5 + 128.0, 0, 255).astype(jnp.uint8)


def make_faces(params: Params, styles: jax.Array, size: int) -> jax.Array:
    """Returns uint8 faces [B, S, S, 3] of `styles` [B, 512] or [B, 23, 512].

    On a CPU they are made one by one, which takes less memory, and a face does not depend on how many there are.
    """

    def one_by_one(styles: jax.Array) -> jax.Array:
        return jax.lax.map(lambda style: to_bytes(synthesise(params, style[None], size))[0], styles)

    def together(styles: jax.Array) -> jax.Array:
        return to_bytes(synthesise(params, styles, size))

    return by_device.choose(styles, cpu=one_by_one, default=together)


def draw_styles(params: Params, key: jax.Array, index: jax.Array) -> jax.Array:
    """Returns styles [B, 512] of random faces; that of face i is drawn by `fold_in(key, index[i])` alone."""
    return by_device.map_each(lambda i: draw_style(params, jax.random.fold_in(key, i)), index)


def draw_people(params: Params, key: jax.Array, person: jax.Array, picture: jax.Array, size: int) -> jax.Array:
    """Returns uint8 faces [B, S, S, 3]: picture `picture[i]` of person `person[i]`, see `draw_picture`."""
    styles = by_device.map_each(lambda *numbers: draw_picture(params, key, *numbers), person, picture)
    return make_faces(params, styles, size)
