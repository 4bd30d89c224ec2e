"""The face prior: a generator of faces from a 512-d vector.

MobileStyleGAN (Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image
Synthesis", 2021), with the weights that the package random-face publishes. `network` holds its parts, `synthesis` the
way from styles to a face, `heads` the short ways to small faces, `sampling` random faces, `conversion` the weights.
"""

from faceflax.models.face_prior import conversion, heads
from faceflax.models.face_prior.network import Params


def load() -> Params:
    """Returns the 10 million published parameters and the heads', by name, in host memory.

    Raises `UserError` when the published ones are not in the cache and cannot be fetched (36 MB).
    """
    published = conversion.load()
    return published | heads.noise(published) | heads.load()
