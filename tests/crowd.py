"""For tests of the commands on faces: invented encoders, crops of people who are alike by them, and a command's run.

A crop's vector is its colours in sixteen cells, so that alike crops have alike vectors.
"""

import json

import cv2
import jax.numpy as jnp
import numpy as np

from faceflax.errors import UserError
from faceflax.models.face_encoder import FaceEncoder
from faceflax.recognition.calibration import Calibration


def embed(params, images):
    cells = images.reshape(len(images), 4, 8, 4, 8, 3).mean((2, 4)).reshape(len(images), 48) - 0.5
    return cells / jnp.linalg.norm(cells, axis=-1, keepdims=True)


ENCODERS = {
    name: FaceEncoder(name, version, 48, 32, load=dict, embed=embed)
    for name, version in (("faceres", "00c0ffee"), ("other", "0badcafe"))
}


def create(name):
    """As `face_encoder.create`, of `ENCODERS`."""
    if name not in ENCODERS:
        raise UserError(f"there is no face encoder {name!r}")
    return ENCODERS[name]


KNOWN = Calibration("faceres", "00c0ffee", 0.7, 0.001, 1000, 0.9, 100, "invented faces")


def face(path, person, shot=0, size=32):
    """A crop of a person: sixteen coloured cells, and noise by the number of the shot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(person).uniform(0, 255, (4, 4, 3))
    pixels = np.kron(cells, np.ones((size // 4, size // 4, 1)))
    pixels += np.random.default_rng(1000 * person + shot).normal(0, 20, pixels.shape)
    assert cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8))
    return path


def photograph(folder):
    """Makes a folder of three crops for each of three people."""
    for number, name in enumerate(("Ann", "Bob", "Zoë")):
        for shot in range(3):
            face(folder / name / f"{shot}.png", number, shot)
    return folder


def json_lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
