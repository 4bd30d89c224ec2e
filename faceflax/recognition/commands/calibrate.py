"""What `faceflax calibrate` does."""

import argparse
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import console
from faceflax.recognition import calibration
from faceflax.recognition.commands import session, tables


def run(arguments: argparse.Namespace) -> int:
    """Measures a threshold on a folder of people's folders; returns 0, or 1 when some photographs could not be used.

    Raises `UserError` when there are too few of them, and before any work when --out cannot be written.
    """
    folder, out = Path(arguments.folder), Path(arguments.out)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that holds a folder of photographs for each person")
    rows = tables.read("--groups", Path(arguments.groups), ("person", "group")) if arguments.groups else []
    groups = {row["person"]: row["group"] for row in rows}
    people, sentences = session.find_people([folder], None)
    if len(set(people.values())) < 2:
        raise UserError(f"{folder} shows fewer than two people: it must hold a folder of photographs for each person")
    encoder = session.choose_encoder(None, arguments.encoder)
    console.make_place(out)
    failures = session.Failures(sentences)
    embedder = session.create_embedder(encoder, arguments)
    faces = list(session.embed_all(embedder, list(people), failures, "calibrating").values())
    names = np.array([people[face.path] for face in faces])
    measured_on = f"{len(faces)} photographs of {len(set(names))} people in {console.printable(folder.resolve().name)}"
    vectors = session.stack(faces, encoder.size)
    found = calibration.calibrate(encoder, vectors, names, arguments.far, measured_on)
    calibration.save(out, found)
    print(f"threshold {found.threshold:.4f} for {encoder.name} (version {encoder.version}): {found.passing}")
    for each in calibration.by_group(vectors, names, groups, found.threshold):
        print(
            console.printable(
                f"{each.group}, {each.people} people: {each.false_accepts} of {each.different:,} pairs of different "
                f"people pass, {each.true_accepts} of {each.same:,} pairs of one person"
            )
        )
    print(console.printable(f"{out}: pass it to identify or verify with --calibration"))
    return 1 if failures.count else 0
