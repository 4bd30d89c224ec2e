"""Draws docs/face_prior.jpg, of people who do not exist: python docs/draw_prior.py docs/face_prior.jpg.

Rows: random faces; the shapes of the first row with the light and colours of its last face; pictures of two people;
faces made from the first row's feature vectors alone; the way from one feature vector to another.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.datasets import images
from faceflax.models import face_encoder, face_prior
from faceflax.models.face_prior import sampling
from faceflax.restoration.reconstruct import Reconstructor, between
from faceflax.training import parallel

COLUMNS, SIZE = 8, 128
KEY = jax.random.key(5)


def main(path: str) -> None:
    """Writes the picture to `path`."""
    devices = parallel.one_device()
    params = devices.replicate(face_prior.load())
    make = devices.compile_batched(lambda params, styles: sampling.make_faces(params, styles, SIZE))
    picture = devices.compile_batched(
        lambda params, numbers: sampling.draw_people(params, KEY, numbers["person"], numbers["picture"], SIZE)
    )
    styles = jnp.stack([sampling.draw_style(params, jax.random.fold_in(KEY, i)) for i in range(COLUMNS)])
    faces = make(params, styles)
    mixed = make(params, sampling.mix(styles, jnp.broadcast_to(styles[-1], styles.shape)))
    half = COLUMNS // 2
    people = picture(params, {"person": np.arange(COLUMNS) // half, "picture": np.arange(COLUMNS) % half})
    encoder, encoder_params = face_encoder.load("faceres")
    embed = devices.compile_batched(lambda params, images: encoder.embed(params, images / 255.0))
    vectors = np.asarray(embed(devices.replicate(encoder_params), np.asarray(faces)))
    reconstruct = Reconstructor(encoder.version, SIZE, devices)
    rows = [faces, mixed, people, reconstruct(vectors), reconstruct(between(vectors[0], vectors[3], COLUMNS))]
    sheet = np.concatenate([np.concatenate(list(np.asarray(row)), axis=1) for row in rows])
    Path(path).write_bytes(images.encode_jpeg(sheet, 92))


if __name__ == "__main__":
    main(sys.argv[1])
