"""What `faceflax reconstruct` does."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.preprocessing import console
from faceflax.recognition import records
from faceflax.recognition.commands import session

_LABEL = "estimate, not a photograph"


def run(arguments: argparse.Namespace) -> int:
    """Makes a face from a person's vectors in a gallery, labelled as an estimate; returns 0.

    Raises `UserError`, before any work, when that person is not enrolled, no faces can be made from the gallery's
    vectors, or --out cannot be written.
    """
    session.check(arguments)
    out = Path(arguments.out)
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} must end in .png")
    with session.open_gallery(arguments.gallery) as gallery:
        found = list(gallery.vectors(records.condition([arguments.name])))
    if not found:
        raise UserError(
            f"{arguments.name} is not in the gallery {arguments.gallery}; faceflax gallery list shows who is there"
        )
    from faceflax.datasets import images
    from faceflax.restoration import reconstruct
    from faceflax.training import parallel, runtime

    version = found[0][0][0].version
    reconstruct.check(version, arguments.size)
    console.check_place(out)
    mean = np.concatenate([vectors for _, vectors in found]).mean(axis=0)
    runtime.start()
    make = reconstruct.Reconstructor(version, arguments.size, parallel.one_device())
    (face,) = make((mean / np.linalg.norm(mean))[None])
    with atomic_path(out) as temporary:  # for its owner alone, as the gallery is
        temporary.touch(mode=0o600)
        temporary.write_bytes(images.encode_png(labelled(face)))
    count = sum(len(vectors) for _, vectors in found)
    session.say(f"{out}: an estimate of {arguments.name} from {count} feature vectors, not a photograph")
    return 0


def labelled(face: np.ndarray) -> np.ndarray:
    """Returns a face uint8 [H, W, 3] with a strip below it that says that it is an estimate."""
    width = face.shape[1]
    scale = 0.9 * width / cv2.getTextSize(_LABEL, cv2.FONT_HERSHEY_SIMPLEX, 1, 1)[0][0]
    (text, height), descent = cv2.getTextSize(_LABEL, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    strip = np.full((2 * (height + descent), width, 3), 255, np.uint8)
    place = ((width - text) // 2, height + (height + descent) // 2)
    cv2.putText(strip, _LABEL, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([face, strip])
