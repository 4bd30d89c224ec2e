"""What `faceflax gallery` does: list, show, update, delete, check, export."""

import argparse
import collections
import dataclasses
import datetime
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from faceflax.errors import UserError
from faceflax.preprocessing import console, images, inputs
from faceflax.recognition import exporting, recall, records
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery
from faceflax.recognition.records import Record

_WIDE = 2000  # columns of a list that is read by a program


def run(arguments: argparse.Namespace) -> int:
    """Does what `arguments.action` names; returns 0, or 1 when some files could not be used.

    Raises `UserError` when nobody in the gallery is meant; for wrong arguments before it is opened.
    """
    session.check(arguments)
    return _ACTIONS[arguments.action](arguments)


def _condition(arguments: argparse.Namespace) -> str:
    return records.condition(arguments.name or (), records.parse_pairs("--where", arguments.where))


def _list(arguments: argparse.Namespace) -> int:
    condition = _condition(arguments)
    with session.open_gallery(arguments.gallery) as gallery:
        people: dict[str, list[Record]] = collections.defaultdict(list)
        for record in gallery.records(condition):
            people[record.name].append(record)
        if arguments.json:
            for name, held in sorted(people.items()):
                session.print_json(name=name, photographs=_photographs(held), vectors=len(held))
        elif people:
            _print_people(people)
            session.say(
                f"{session.people(len(people))} in {gallery.uri}; encoder {gallery.encoder}, index {gallery.index}"
            )
        else:
            total = len({record.name for record in gallery.records()})
            nobody = f"nobody matches, of {session.people(total)} in {gallery.uri}"
            session.say(nobody if total else f"{gallery.uri} is empty")
    return 0


def _print_people(people: Mapping[str, list[Record]]) -> None:
    table = Table(Column("person", overflow="fold"), "photographs", "vectors", "enrolled last")
    for name, held in sorted(people.items()):
        last = _date(max(record.time for record in held))
        table.add_row(Text(console.printable(name)), str(_photographs(held)), str(len(held)), last)
    terminal = Console()
    if not terminal.is_terminal and "COLUMNS" not in os.environ:
        terminal = Console(width=_WIDE)
    terminal.print(table)


def _show(arguments: argparse.Namespace) -> int:
    condition = _condition(arguments)
    with session.open_gallery(arguments.gallery) as gallery:
        found = sorted(gallery.records(condition), key=lambda record: (record.name, record.sources))
        for record in found:
            session.print_json(**dataclasses.asdict(record) | {"time": _date(record.time)})
        _some(len(found), gallery)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    changes = {key: getattr(arguments, key) for key in ("consent", "purpose") if getattr(arguments, key) is not None}
    for key, text in changes.items():
        records.check_text(f"--{key}", text, records.MAX_NOTE)
    metadata = records.parse_metadata(arguments.set)
    if not changes and not metadata:
        raise UserError("nothing to update was named; pass --consent, --purpose or --set KEY=VALUE")
    condition = _chosen(arguments, "updated", "updates")

    def change(record: Record) -> Record:
        return dataclasses.replace(record, **changes, metadata={**record.metadata, **metadata})

    with session.open_gallery(arguments.gallery) as gallery:
        count = _some(gallery.update(condition, change), gallery)
        session.say(f"updated {console.counted(count, 'record')} in {gallery.uri}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    if arguments.photograph is not None:
        return _delete_photographs(arguments, list(map(Path, arguments.photograph)))
    condition = _chosen(arguments, "deleted", "deletes")
    with session.open_gallery(arguments.gallery) as gallery:
        count = _some(gallery.delete(condition), gallery)
        session.say(f"deleted {console.counted(count, 'record')} from {gallery.uri}")
    return 0


def _delete_photographs(arguments: argparse.Namespace, paths: Sequence[Path]) -> int:
    if arguments.all or _condition(arguments):
        raise UserError("--photograph says what is deleted; leave out --name, --where and --all")
    failures = session.Failures()
    digests = dict(_digests(paths, failures))
    with session.open_gallery(arguments.gallery) as gallery, gallery.writing():
        owners, single = gallery.owners(set(digests)), set()
        for digest, path in digests.items():
            ids = {records.record_id(name, digest): name for name in owners.get(digest, ())}
            held = gallery.held(set(ids))
            single |= set(held)
            if not ids:
                failures.note(path, f"{path}: is not enrolled in {gallery.uri}")
            for name in (ids[id_] for id_ in ids if id_ not in held):
                failures.note(
                    path,
                    f"{path}: cannot be taken out of the average of {name}; delete {name} with --name, and enrol the "
                    "other photographs anew",
                )
        count = gallery.delete(records.any_of("id", sorted(single))) if single else 0
        session.say(f"deleted {console.counted(count, 'record')} from {gallery.uri}")
    return 1 if failures.count else 0


def _chosen(arguments: argparse.Namespace, done: str, does: str) -> str:
    """The condition that the arguments name; raises `UserError` unless they say who is meant, or that all are."""
    condition = _condition(arguments)
    if not condition and not arguments.all:
        raise UserError(f"say who is to be {done}, with --name or --where; --all {does} everybody")
    if condition and arguments.all:
        raise UserError(f"--all {does} everybody; leave out --name and --where")
    return condition or records.EVERYBODY


def _check(arguments: argparse.Namespace) -> int:
    with session.open_gallery(arguments.gallery) as gallery:
        found = recall.measure(gallery, arguments.queries)
        print(
            f"recall@{found.k} {found.recall:.4f} against brute force, {found.queries} queries on {found.vectors:,} "
            f"vectors; index {gallery.index}, {1e3 * found.seconds / found.queries:.2f} ms a query"
        )
    return 0


def _export(arguments: argparse.Namespace) -> int:
    condition, out, place = _condition(arguments), Path(arguments.out), os.path.realpath(arguments.gallery)
    if place in [os.path.realpath(out), *map(str, Path(os.path.realpath(out)).parents)]:
        raise UserError(f"--out {out} lies in the gallery itself; choose another folder")
    with session.open_gallery(arguments.gallery) as gallery:
        if not arguments.photographs:
            session.say(str(exporting.export_vectors(gallery, condition, out)))
            return 0
        return _export_photographs(gallery, condition, out, [Path(name) for name in arguments.photographs])


def _export_photographs(gallery: Gallery, condition: str, out: Path, given: Sequence[Path]) -> int:
    files, sentences = inputs.list_images(given)
    failures = session.Failures(sentences)
    digests = _digests([path for path, _ in files], failures)
    copied, missing = exporting.export_photographs(gallery, condition, out, digests)
    session.say(f"{out}: {copied} photographs")
    if missing:
        failures.note(None, f"{missing} enrolled photographs are not among the files of --photographs")
    return 1 if failures.count else 0


def _digests(paths: Sequence[Path], failures: session.Failures) -> Iterator[tuple[str, Path]]:
    """Yields the SHA-256 of each file that can be read, and its path."""
    for path in paths:
        with console.reported(lambda sentence, path=path: failures.note(path, sentence)):
            yield hashlib.sha256(images.read_bytes(path)).hexdigest(), path


def _photographs(held: list[Record]) -> int:
    return len({source for record in held for source in record.sources})


def _date(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _some(count: int, gallery: Gallery) -> int:
    """Returns the count of those who were meant; raises `UserError` where there are none."""
    if not count:
        raise UserError(f"nobody in the gallery {gallery.uri} is meant; faceflax gallery list shows who is there")
    return count


_ACTIONS = {
    "list": _list,
    "show": _show,
    "update": _update,
    "delete": _delete,
    "check": _check,
    "export": _export,
}
