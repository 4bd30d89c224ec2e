"""What `faceflax calibrate` does."""

import argparse
import csv
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing.console import printable
from faceflax.recognition import calibration
from faceflax.recognition.commands import session


def run(arguments: argparse.Namespace) -> int:
    """Measures a threshold on a folder of people's folders; returns 0, or 1 when some photographs could not be used.

    Raises `UserError` when there are too few of them.
    """
    folder, out = Path(arguments.folder), Path(arguments.out)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that holds a folder of photographs for each person")
    groups = _read_groups(Path(arguments.groups)) if arguments.groups else {}
    people, sentences = session.find_people([folder], None)
    if len(set(people.values())) < 2:
        raise UserError(f"{folder} shows fewer than two people: it must hold a folder of photographs for each person")
    failures = session.Failures(sentences)
    encoder = session.choose_encoder(None, arguments.encoder)
    embedder = session.create_embedder(encoder, arguments)
    faces = list(session.embed_all(embedder, list(people), failures, "calibrating").values())
    names = np.array([people[face.path] for face in faces])
    measured_on = f"{len(faces)} photographs of {len(set(names))} people in {printable(folder.resolve().name)}"
    vectors = session.stack(faces, encoder.size)
    found = calibration.calibrate(encoder, vectors, names, arguments.far, measured_on)
    calibration.save(out, found)
    print(
        f"threshold {found.threshold:.4f} for {encoder.name} (version {encoder.version}): "
        f"{found.false_accept_rate:.2g} of {found.different:,} pairs of different people pass, "
        + (f"{found.true_accept_rate:.4f} of {found.same:,} pairs of one person" if found.same else "no pairs of one")
    )
    for each in calibration.by_group(vectors, names, groups, found.threshold):
        print(
            printable(
                f"{each.group}, {each.people} people: {each.false_accepts} of {each.different:,} pairs of different "
                f"people pass, {each.true_accepts} of {each.same:,} pairs of one person"
            )
        )
    print(printable(f"{out}: pass it to identify or verify with --calibration"))
    return 1 if failures.count else 0


def _read_groups(path: Path) -> dict[str, str]:
    """Returns the group of each person named in a CSV with the columns person,group."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            if not {"person", "group"} <= set(rows.fieldnames or ()):
                raise UserError(f"--groups {path}: its first line must name the columns person,group")
            return {row["person"]: row["group"] or "" for row in rows}
    except OSError as error:
        raise UserError(f"--groups {path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--groups {path}: is no CSV file in UTF-8: {error}") from error
