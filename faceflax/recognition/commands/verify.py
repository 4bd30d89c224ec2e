"""What `faceflax verify` does."""

import argparse
from pathlib import Path

from faceflax.errors import UserError
from faceflax.recognition.calibration import Calibration
from faceflax.recognition.commands import session, tables

_COLUMNS = ("file_x", "file_y")


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
    files = [path for given, paths in pairs if all(given.values()) for path in paths]
    faces = session.embed_all(embedder, files, failures, "comparing")
    for number, (given, paths) in enumerate(pairs, 1):
        problems = [failures.by_path[path] for path in dict.fromkeys(paths) if path in failures.by_path]
        if not all(given.values()):
            problems = [f"--pairs: pair {number} lacks the name of a file; fill in {' and '.join(_COLUMNS)}"]
            failures.note(None, problems[0])
        if problems:
            if arguments.json:
                session.print_json(**given, score=None, same=None, error="; ".join(problems))
            continue
        score = float(faces[paths[0]].vector @ faces[paths[1]].vector)
        _print(given, score, threshold, known, arguments.json)
    if known and not arguments.json:
        session.say(f"threshold {threshold:.4f}: {known.passing}; measured on {known.measured_on}")
    return 1 if failures.count else 0


def _pairs(arguments: argparse.Namespace) -> list[tuple[dict[str, str], tuple[Path, Path]]]:
    """Returns each pair of files as the user named it, and where they are."""
    if arguments.pairs:
        if arguments.inputs:
            raise UserError("give two photographs or --pairs FILE.csv, not both")
        return _read_pairs(Path(arguments.pairs))
    count = len(arguments.inputs)
    if count != 2:
        given = "one was" if count == 1 else f"{count} were" if count else "none was"
        raise UserError(f"verify needs two photographs to compare, and {given} given; name two, or --pairs FILE.csv")
    return [(dict(zip(_COLUMNS, arguments.inputs, strict=True)), tuple(map(Path, arguments.inputs)))]


def _read_pairs(path: Path) -> list[tuple[dict[str, str], tuple[Path, Path]]]:
    pairs = tables.read("--pairs", path, _COLUMNS)
    if not pairs:
        raise UserError(f"--pairs {path}: holds no pairs below its first line")
    return [(pair, tuple(_locate(pair[name], path.parent) for name in _COLUMNS)) for pair in pairs]


def _locate(name: str, folder: Path) -> Path:
    """A relative name is meant from here, or where there is no such file, from the folder of the list."""
    return Path(name) if Path(name).exists() else folder / name


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
