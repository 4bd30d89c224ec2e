"""What `faceflax enroll` does."""

import argparse
import collections
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faceflax.recognition import averages, records
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery
from faceflax.recognition.records import Record

if TYPE_CHECKING:
    from faceflax.models.face_encoder import FaceEncoder
    from faceflax.recognition.embedding import Embedded

_Enrolled = tuple[Record, np.ndarray]  # with its unit vector
_Photograph = tuple[str, str]  # the person's name and the SHA-256
_NAMES = 500  # in one condition
_ALIKE = 1e-3  # of numbers: what two batches make of one photograph differs by less


def run(arguments: argparse.Namespace) -> int:
    """Enrols the photographs that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be enrolled at all: no gallery, no encoder, another encoder's gallery. A gallery
    that this call made does not stay when nothing was put into it. However it ends, it says how many were put into it.
    """
    notes = _Notes(arguments.consent, arguments.purpose, records.parse_metadata(arguments.set))
    for option, text in (("--consent", notes.consent), ("--purpose", notes.purpose)):
        records.check_text(option, text or "", records.MAX_NOTE)
    session.check(arguments, create=True)
    people, refused, whole, parts = session.find_people([Path(name) for name in arguments.inputs], arguments.name)
    failures = session.Failures()
    for each in refused:
        failures.note(*each)
    total = len(people) + len(failures.by_path)
    if not people:
        return 1
    for what, names in (("that holds no folders", whole), ("in a folder", parts)):
        if names:
            session.say(f"a folder {what} is one person, by its own name: {session.some_of(names)}")
    session.choose_encoder(None, arguments.encoder)  # a name that there is, before a gallery is made
    with session.open_gallery(arguments.gallery, create=True) as gallery:
        encoder = session.choose_encoder(gallery, arguments.encoder)
        files = _of_one_kind(people, _composed(gallery, set(people.values())), arguments.average, failures)
        embedder = session.create_embedder(encoder, arguments)
        stored: list[_Photograph] = []
        try:
            waiting = []
            for faces in session.embed(embedder, files, failures, "enrolling"):
                if arguments.average:
                    waiting += faces
                else:
                    stored += _store(gallery, encoder, notes, people, faces, arguments.average, failures)
            if waiting:
                stored += _store(gallery, encoder, notes, people, waiting, arguments.average, failures)
            gallery.settle()
        finally:
            session.say(f"enrolled {_counted(stored, total)}, in {arguments.gallery}")
    return 1 if failures.count else 0


def _counted(stored: Sequence[_Photograph], total: int) -> str:
    """How many photographs are there, and of how many people: equal files of one person are one."""
    different = set(stored)
    copies = len(stored) - len(different)
    beside = f" ({copies} more {'is a copy' if copies == 1 else 'are copies'})" if copies else ""
    return f"{len(different)} of {total} photographs{beside}, {session.people(len({name for name, _ in different}))}"


@dataclasses.dataclass(frozen=True)
class _Notes:
    """What the arguments say about those who are enrolled; None, and keys that are missing: what was said before."""

    consent: str | None
    purpose: str | None
    metadata: Mapping[str, str]

    def record(
        self, name: str, face: "Embedded", encoder: "FaceEncoder", held: Mapping[str, _Enrolled], is_average: bool
    ) -> Record:
        """Returns the record of one photograph; its notes are kept where it, or its person's average, is there."""
        old = held.get(records.record_id(name, None if is_average else face.sha256), (None,))[0]
        return Record(
            name=name,
            encoder=encoder.name,
            version=encoder.version,
            sources=(face.sha256,),
            length=1.0,
            consent=self.consent if self.consent is not None else old.consent if old else "",
            purpose=self.purpose if self.purpose is not None else old.purpose if old else "",
            time=int(time.time()),
            metadata={**(old.metadata if old else {}), **self.metadata},
        )


def _store(
    gallery: Gallery,
    encoder: "FaceEncoder",
    notes: _Notes,
    people: Mapping[Path, str],
    faces: "Sequence[Embedded]",
    average: bool,
    failures: session.Failures,
) -> list[_Photograph]:
    """Puts faces into the gallery, by what it holds at that moment; returns those that were."""
    with gallery.writing():
        if average:
            held = _held(gallery, {people[face.path] for face in faces})
        else:  # found by their keys, which takes a small part of the time
            held = gallery.held(
                {records.record_id(people[face.path], source) for face in faces for source in (face.sha256, None)}
            )
        there = (record for record, _ in held.values())
        files = set(_of_one_kind({face.path: people[face.path] for face in faces}, there, average, failures))
        own = _of_one_person(gallery, people, [face for face in faces if face.path in files], failures)
        made = [(notes.record(people[face.path], face, encoder, held, average), face.vector) for face in own]
        stored = [(record.name, *record.sources) for record, _ in made]
        if average:
            by_name: dict[str, list[_Enrolled]] = collections.defaultdict(list)
            for each in made:
                by_name[each[0].name].append(each)
            old = {name: held.get(records.record_id(name, None)) for name in by_name}
            made = [averages.merge(old[name], new) for name, new in by_name.items()]
        else:  # equal files have one record, and a Milvus server refuses a batch that holds a key twice
            made = list({record.id: (record, vector) for record, vector in made}.values())
        if made:
            _add(gallery, encoder, made, held)
    return stored


def _of_one_person(
    gallery: Gallery, people: Mapping[Path, str], faces: "Sequence[Embedded]", failures: session.Failures
) -> "list[Embedded]":
    """Returns the faces whose photographs are of nobody else: neither in the gallery, nor earlier among these."""
    owners, own = gallery.owners({face.sha256 for face in faces}), []
    for face in faces:
        name = people[face.path]
        others = {records.normalise(each) for each in owners.get(face.sha256, ())} - {name}
        if others:
            who = session.some_of(others)
            failures.note(
                face.path,
                f"{session.same_photograph(face.path, 'enrolled', who, name)}, "
                f"or there with faceflax gallery delete --photograph {face.path}",
            )
            continue
        owners[face.sha256] = {name}
        own.append(face)
    return own


def _composed(gallery: Gallery, names: set[str]) -> list[Record]:
    """Gives who is there under a name that is not composed, as earlier galleries have it, the one of today.

    A record stays as it is where there is one in its place under that name. Returns what was enrolled of these people.
    """
    found = list(_records(gallery, names))
    ids = {record.id for record in found}
    old = [record.id for record in found if _renamed(record).id not in ids]
    if old:
        gallery.update(records.any_of("id", old), _renamed)
    return found


def _records(gallery: Gallery, names: set[str]) -> Iterator[Record]:
    for part in _parts(names):
        yield from gallery.records(records.condition(part))


def _renamed(record: Record) -> Record:
    return dataclasses.replace(record, name=records.normalise(record.name))


def _held(gallery: Gallery, names: set[str]) -> dict[str, _Enrolled]:
    """Returns what is enrolled of these people, by the records' ids."""
    held = {}
    for part in _parts(names):
        for found, vectors in gallery.vectors(records.condition(part)):
            held |= {record.id: (record, vector) for record, vector in zip(found, vectors, strict=True)}
    return held


def _parts(names: set[str]) -> Iterator[list[str]]:
    """So many of the names as one condition takes, at a time."""
    ordered = sorted(names)
    return (ordered[start : start + _NAMES] for start in range(0, len(ordered), _NAMES))


def _of_one_kind(
    people: Mapping[Path, str], held: Iterable[Record], average: bool, failures: session.Failures
) -> list[Path]:
    """Returns the files of people who have no records of the other kind: one vector each, or one a photograph."""
    others = {records.normalise(record.name) for record in held if record.is_average != average}
    for name in sorted(others):
        has, do = ("a vector for each photograph", "leave out") if average else ("one average", "pass")
        failures.note(None, f"{name} has {has} in the gallery; {do} --average, or delete {name} there first")
    return [path for path, name in people.items() if name not in others]


def _add(gallery: Gallery, encoder: "FaceEncoder", made: list[_Enrolled], held: Mapping[str, _Enrolled]) -> None:
    replaces = any(_differs(held[record.id], (record, vector)) for record, vector in made if record.id in held)
    gallery.add(encoder, [record for record, _ in made], np.stack([vector for _, vector in made]), replaces=replaces)


def _differs(old: _Enrolled, new: _Enrolled) -> bool:
    """Whether more than the time is new, so that no trace of the old may stay."""
    return dataclasses.replace(old[0], time=new[0].time) != new[0] or np.abs(old[1] - new[1]).max() > _ALIKE
