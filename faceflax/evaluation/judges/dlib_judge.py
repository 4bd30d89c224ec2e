"""A judge of identity that no loss and no other measurement here knows: dlib's ResNet of faces. Host side.

The network and its weights are Davis King's (https://github.com/davisking/dlib-models, 2017): 29 convolutions, 128
numbers, trained to put photographs of one person within a distance of 0.6. It needs the package dlib-bin, which is
for evaluation only.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from faceflax import assets
from faceflax.errors import UserError
from faceflax.models.face_encoder import short_hash

DIMENSION = 128

SAME_PERSON = 0.6
"""Distance of two descriptors below which dlib, by its documentation, takes faces for one person's."""

_CHIP_SIZE = 150  # pixels, of the network's input
# Where dlib's own five landmarks and get_face_chip (padding 0.25) cut, mean of 300 faces aligned as FFHQ aligns them:
# centre (from the left, from the top) and side, as parts of the image's side. The mean angle is 0.2 degrees.
_CHIP_CENTRE = (0.504, 0.607)
_CHIP_SIDE = 0.696


class DlibJudge:
    """Vectors of faces by dlib's network; see `__call__`.

    Attributes:
      version: a short hash of dlib's version, the weights and what is cut out; other versions give other vectors.
    """

    def __init__(self):
        """Raises `UserError` when dlib is not installed or the weights (22 MB) cannot be fetched."""
        try:
            import dlib
        except ImportError as error:
            raise UserError("the independent judge of identity needs dlib: pip install 'faceflax[judge]'") from error
        made_by = (dlib.__version__, assets.DLIB_RESNET.sha256, _CHIP_SIZE, _CHIP_CENTRE, _CHIP_SIDE)
        self.version = short_hash(*map(str, made_by))
        self._network = dlib.face_recognition_model_v1(str(assets.fetch(assets.DLIB_RESNET)))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns unit vectors float32 [B, 128] of RGB faces uint8 [B, S, S, 3], aligned as FFHQ aligns them.

        The part that dlib would cut from the mean face is cut from all, so that no detector has a say, and damage does
        not move the cut. One face takes 80 ms of one core, in a group too; dlib holds Python's global lock meanwhile,
        so threads gain nothing.
        """
        vectors = self.descriptors(images)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """Returns dlib's own vectors float32 [B, 128], which have no fixed length, of faces as `__call__` takes them.

        dlib says that two faces are one person when their vectors are less than `SAME_PERSON` apart.
        """
        vectors = [self._network.compute_face_descriptor(chip(image)) for image in images]
        return np.array(vectors, np.float32).reshape(-1, DIMENSION)

    def same_people(self, made: np.ndarray, originals: np.ndarray) -> "SamePeople":
        """Compares faces with the originals that they were made of; both uint8 [B, S, S, 3], no two of one person."""
        made, originals = self.descriptors(made), self.descriptors(originals)
        distances = np.linalg.norm(made[:, None] - originals, axis=-1)
        own, others = np.diag(distances), distances[~np.eye(len(made), dtype=bool)]
        return SamePeople(
            len(made),
            float(np.mean(own < SAME_PERSON)),
            float(np.median(own)),
            float(np.mean(others < SAME_PERSON)),
        )


class SamePeople(NamedTuple):
    """What dlib says of `count` faces made of others, at its own threshold.

    `same` is the share of them that show the same person as their original, `distance` the median of these distances,
    `confused` the share of the pairs with another's original that count as one person.
    """

    count: int
    same: float
    distance: float
    confused: float

    def __str__(self) -> str:
        """In words."""
        return (
            f"the same person: {self.same:.3f} of {self.count} (median distance {self.distance:.2f}); "
            f"taken for another of them: {self.confused:.3f} of all pairs"
        )


def chip(image: np.ndarray) -> np.ndarray:
    """Returns the network's input, uint8 [150, 150, 3], of a face uint8 [S, S, 3]: bilinear, with antialiasing."""
    size = image.shape[0]
    left, top = (size * (centre - _CHIP_SIDE / 2) for centre in _CHIP_CENTRE)
    box = (left, top, left + size * _CHIP_SIDE, top + size * _CHIP_SIDE)
    resized = Image.fromarray(image).resize((_CHIP_SIZE, _CHIP_SIZE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)
