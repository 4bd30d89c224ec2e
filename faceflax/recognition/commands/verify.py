"""What `faceflax verify` does."""

import argparse
import contextlib
from pathlib import Path
from typing import NamedTuple

from faceflax.errors import UserError
from faceflax.recognition.calibration import Calibration
from faceflax.recognition.commands import session, tables

_COLUMNS = ("file_x", "file_y")


class _Pair(NamedTuple):
    """Two files as the user named them, by column, where they are, and why they cannot be meant ("" where they can)."""

    given: dict[str, str]
    paths: tuple[Path, Path]
    problem: str


def run(arguments: argparse.Namespace) -> int:
    """Says of each pair of photographs whether it shows one person; returns 0, or 1 when some could not be compared.

    Raises `UserError` when nothing can be compared at all: no pairs, no threshold.
    """
    session.check(arguments)
    pairs = _pairs(arguments)
    encoder = session.choose_encoder(None, arguments.encoder)
    threshold, known = session.choose_threshold(arguments, encoder)
    failures = session.Failures()
    embedder = session.create_embedder(encoder, arguments)
    files = [path for pair in pairs if not pair.problem for path in pair.paths]
    faces = session.embed_all(embedder, files, failures, "comparing")
    for given, paths, problem in pairs:
        problems = [failures.by_path[path] for path in dict.fromkeys(paths) if path in failures.by_path]
        if problem:
            problems = [problem]
            failures.note(None, problem)
        if problems:
            if arguments.json:
                session.print_json(**given, score=None, same=None, error="; ".join(problems))
            continue
        score = float(faces[paths[0]].vector @ faces[paths[1]].vector)
        _print(given, score, threshold, known, arguments.json)
    if known and not arguments.json:
        session.say(f"threshold {threshold:.4f}: {known.passing}; measured on {known.measured_on}")
    return 1 if failures.count else 0


def _pairs(arguments: argparse.Namespace) -> list[_Pair]:
    if arguments.pairs:
        if arguments.inputs:
            raise UserError("give two photographs or --pairs FILE.csv, not both")
        return _read_pairs(Path(arguments.pairs))
    count = len(arguments.inputs)
    if count != 2:
        given = "one was" if count == 1 else f"{count} were" if count else "none was"
        raise UserError(f"verify needs two photographs to compare, and {given} given; name two, or --pairs FILE.csv")
    return [_Pair(dict(zip(_COLUMNS, arguments.inputs, strict=True)), tuple(map(Path, arguments.inputs)), "")]


def _read_pairs(path: Path) -> list[_Pair]:
    rows = tables.read("--pairs", path, _COLUMNS)
    if not rows:
        raise UserError(f"--pairs {path}: holds no pairs below its first line")
    pairs = []
    for given, place, problem in rows:
        if not problem and not all(given.values()):
            problem = f"--pairs: {place} lacks the name of a file; fill in {' and '.join(_COLUMNS)}"
        pairs.append(_Pair(given, tuple(_locate(given[name], path.parent) for name in _COLUMNS), problem))
    return pairs


def _locate(name: str, folder: Path) -> Path:
    """A relative name is meant from here, or where there is no such file, from the folder of the list."""
    with contextlib.suppress(OSError):  # a name that is too long for a file
        if Path(name).exists():
            return Path(name)
    return folder / name


def _print(given: dict[str, str], score: float, threshold: float, known: Calibration | None, as_json: bool) -> None:
    is_same = score > threshold
    if as_json:
        session.print_json(
            **given,
            score=round(score, 6),
            same=is_same,
            threshold=round(threshold, 6),
            false_accept_rate=known and known.false_accept_rate,
            measured_on=known and known.measured_on,
        )
        return
    said = "the same person" if is_same else "different people"
    session.say(f"{' and '.join(given.values())}: {said} (score {score:.4f}; threshold {threshold:.4f})")
