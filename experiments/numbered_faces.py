"""What fits are made to: `NNNNN.jpg`, 5,000 synthetic faces of seed 2026, whose numbers tell what they were made from.

`faceflax datasets build synthetic_faces --count 5000` makes such faces.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

SEED, COUNT, SIZE = 2026, 5000, 256


def read(folder: str, number: int) -> np.ndarray:
    """Returns a face, uint8 [SIZE, SIZE, 3]; raises `UserError` when it is not there."""
    from faceflax.datasets import images

    return images.square(images.decode(_bytes(folder, number)), SIZE)


def describe(folder: str, numbers: Iterable[int]) -> dict[str, Any]:
    """Returns what a manifest says of the faces of these numbers: a name, and 12 hex digits over their files."""
    digests = (hashlib.sha256(_bytes(folder, number)).digest() for number in numbers)
    fingerprint = hashlib.sha256(b"".join(digests)).hexdigest()[:12]
    return {"name": f"synthetic_faces/{COUNT}-{SIZE}px-seed{SEED}", "fingerprint": fingerprint}


def _bytes(folder: str, number: int) -> bytes:
    from faceflax.errors import UserError

    path = Path(folder, f"{number:05d}.jpg")
    if not path.is_file():
        raise UserError(f"{path} is missing: name a folder with the {COUNT} synthetic faces of seed {SEED}")
    return path.read_bytes()
