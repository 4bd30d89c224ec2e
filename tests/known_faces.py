"""For tests of restoring photographs: faces of known places, photographs that hold them, and known networks."""

import numpy as np

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, write
from faceflax.preprocessing.inputs import Job
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import photographs
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Located
from tests import faces

SIZE = 32
SIDE = 40  # of a face's square in the photographs
MODEL = {"model": "known", "fingerprint": "c0ffee", "size": SIZE, "manifest": {}}
CORNERS = ((5, 10), (60, 12), (30, 60))  # of the faces' squares


def located(*corners):
    """Faces whose squares have these corners."""
    squares = [np.array(corner) + np.array([(0, 0), (SIDE, SIDE)]) for corner in corners]
    return [Located(Face(square.ravel() * 1.0, square[0] + SIDE * TEMPLATE, 0.9), None) for square in squares]


def always(*corners):
    return lambda pixels: located(*corners)


def jobs(folder, count, shape=(110, 120, 3)):
    made = []
    for i in range(count):
        pixels = faces.background(*shape[:2], seed=i)
        write(folder / "in" / f"{i:02d}.png", Photograph(pixels if len(shape) == 3 else pixels[..., 0], None))
        made.append(Job(folder / "in" / f"{i:02d}.png", folder / "out" / f"{i:02d}.png", None))
    return made


def run(made, locate, restore=lambda image, mask: image, batch_size=4, options=None):
    failures, advanced = [], []
    counts = photographs.restore_files(
        made,
        Restorer(SIZE, restore, MODEL),
        locate,
        batch_size=batch_size,
        options=options or Options(),
        on_failure=failures.append,
        advance=lambda: advanced.append(1),
    )
    assert len(advanced) == len(made)
    return counts, failures


def invert(image, mask):
    """A network that changes what does not change slowly."""
    return 1 - image + 0.3 * (np.indices(image.shape[1:3]).sum(0) % 2)[..., None]
