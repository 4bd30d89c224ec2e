"""What `faceflax calibrate` does."""

import argparse
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing.console import printable
from faceflax.recognition import calibration
from faceflax.recognition.commands import session
from faceflax.recognition.commands.enroll import find_people


def run(arguments: argparse.Namespace) -> int:
    """Measures a threshold on a folder of people's folders; returns 0, or 1 when some photographs could not be used.

    Raises `UserError` when there are too few of them.
    """
    folder, out = Path(arguments.folder), Path(arguments.out)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that holds a folder of photographs for each person")
    people, sentences = find_people([folder], None)
    if len(set(people.values())) < 2:
        raise UserError(f"{folder} shows fewer than two people: it must hold a folder of photographs for each person")
    failures = session.Failures(sentences)
    encoder = session.choose_encoder(None, arguments.encoder)
    embedder = session.create_embedder(encoder, arguments)
    faces = list(session.embed_all(embedder, list(people), failures, "calibrating").values())
    names = np.array([people[face.path] for face in faces])
    measured_on = f"{len(faces)} photographs of {len(set(names))} people in {printable(folder.resolve().name)}"
    found = calibration.calibrate(encoder, session.stack(faces, encoder.size), names, arguments.far, measured_on)
    calibration.save(out, found)
    print(
        f"threshold {found.threshold:.4f} for {encoder.name} (version {encoder.version}): "
        f"{found.false_accept_rate:.2g} of {found.different:,} pairs of different people pass, "
        + (f"{found.true_accept_rate:.4f} of {found.same:,} pairs of one person" if found.same else "no pairs of one")
    )
    print(printable(f"{out}: pass it to identify or verify with --calibration"))
    return 1 if failures.count else 0
