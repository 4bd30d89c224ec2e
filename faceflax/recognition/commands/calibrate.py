"""What `faceflax calibrate` does."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import console
from faceflax.recognition import calibration, records
from faceflax.recognition.commands import session, tables

if TYPE_CHECKING:
    from faceflax.recognition.embedding import Embedded


def run(arguments: argparse.Namespace) -> int:
    """Measures a threshold on a folder of people's folders; returns 0, or 1 when some photographs could not be used.

    Raises `UserError` when there are too few of them, and before any work when --out cannot be written.
    """
    folder, out = Path(arguments.folder), Path(arguments.out)
    session.check(arguments)
    calibration.check_rate(arguments.far)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that holds a folder of photographs for each person")
    rows = tables.read("--groups", Path(arguments.groups), ("person", "group")) if arguments.groups else []
    if problems := [row.problem for row in rows if row.problem]:
        raise UserError(problems[0])
    groups = {records.normalise(row.values["person"]): row.values["group"] for row in rows}
    people, refused, *_ = session.find_people([folder], None)
    if len(set(people.values())) < 2:
        raise UserError(f"{folder} shows fewer than two people: it must hold a folder of photographs for each person")
    encoder = session.choose_encoder(None, arguments.encoder)
    console.check_place(out)
    failures = session.Failures()
    for each in refused:
        failures.note(*each)
    if arguments.groups:
        _compare(groups, set(people.values()), failures)
    embedder = session.create_embedder(encoder, arguments)
    embedded = session.embed_all(embedder, list(people), failures, "calibrating").values()
    faces = _once(embedded, people, failures)
    names = np.array([people[face.path] for face in faces])
    measured_on = f"{len(faces)} photographs of {session.people(len(set(names)))} in {folder.resolve().name}"
    vectors = session.stack(faces, encoder.size)
    found = calibration.calibrate(encoder, vectors, names, arguments.far, console.printable(measured_on))
    calibration.save(out, found)
    print(f"threshold {found.threshold:.4f} for {encoder.name} (version {encoder.version}): {found.passing}")
    for each in calibration.by_group(vectors, names, groups, found.threshold):
        session.say(
            f"{each.group}, {session.people(each.people)}: {each.false_accepts} of {each.different:,} pairs of "
            f"different people pass, {each.true_accepts} of {each.same:,} pairs of one person"
        )
    session.say(f"{out}: pass it to identify or verify with --calibration")
    return 1 if failures.count else 0


def _once(faces: "Iterable[Embedded]", people: Mapping[Path, str], failures: session.Failures) -> "list[Embedded]":
    """Returns the first face of each photograph: a copy would make a pair of score 1, which tells nothing."""
    kept: dict[str, Embedded] = {}
    for face in faces:
        first, name = people[kept.setdefault(face.sha256, face).path], people[face.path]
        if first != name:
            failures.note(face.path, session.same_photograph(face.path, "given", first, name))
    return list(kept.values())


def _compare(groups: Mapping[str, str], people: set[str], failures: session.Failures) -> None:
    """Says who is in the list of groups and not in the folder, or the other way round."""
    for names, where in (
        (set(groups) - people, "not in the folder"),
        ({name for name in people if not groups.get(name)}, "in no group, and not counted there"),
    ):
        if names:
            failures.note(None, f"--groups: {session.people(len(names))} {where}: {session.some_of(names)}")
