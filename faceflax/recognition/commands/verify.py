"""What `faceflax verify` does."""

import argparse
import csv
from pathlib import Path

from faceflax.errors import UserError
from faceflax.preprocessing.console import printable
from faceflax.recognition.commands import session

_COLUMNS = ("file_x", "file_y")


def run(arguments: argparse.Namespace) -> int:
    """Says of each pair of photographs whether it shows one person; returns 0, or 1 when some could not be compared.

    Raises `UserError` when nothing can be compared at all: no pairs, no threshold.
    """
    pairs = _pairs(arguments)
    encoder = session.choose_encoder(None, arguments.encoder)
    limit = session.choose_threshold(arguments, encoder)
    failures = session.Failures()
    embedder = session.create_embedder(encoder, arguments)
    files = [path for _, paths in pairs for path in paths]
    faces = session.embed_all(embedder, files, failures, "comparing")
    for given, paths in pairs:
        problems = [failures.by_path[path] for path in dict.fromkeys(paths) if path not in faces]
        if problems:
            if arguments.json:
                session.print_json(**given, score=None, same=None, error="; ".join(problems))
            continue
        score = float(faces[paths[0]].vector @ faces[paths[1]].vector)
        _print(given, score, limit, arguments.json)
    return 1 if failures.count else 0


def _pairs(arguments: argparse.Namespace) -> list[tuple[dict[str, str], tuple[Path, Path]]]:
    """Returns each pair of files as the user named it, and where they are."""
    if arguments.pairs:
        if arguments.inputs:
            raise UserError("give two photographs or --pairs FILE.csv, not both")
        return _read_pairs(Path(arguments.pairs))
    if len(arguments.inputs) != 2:
        raise UserError(f"verify compares two photographs, and {len(arguments.inputs)} were given; see also --pairs")
    return [(dict(zip(_COLUMNS, arguments.inputs, strict=True)), tuple(map(Path, arguments.inputs)))]


def _read_pairs(path: Path) -> list[tuple[dict[str, str], tuple[Path, Path]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            if not set(_COLUMNS) <= set(rows.fieldnames or ()):
                raise UserError(f"--pairs {path}: its first line must name the columns file_x,file_y")
            pairs = [{name: row[name] or "" for name in _COLUMNS} for row in rows]
    except OSError as error:
        raise UserError(f"--pairs {path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--pairs {path}: is no CSV file in UTF-8: {error}") from error
    if not pairs:
        raise UserError(f"--pairs {path}: holds no pairs below its first line")
    return [(pair, tuple(_locate(pair[name], path.parent) for name in _COLUMNS)) for pair in pairs]


def _locate(name: str, folder: Path) -> Path:
    """A relative name is meant from here, or where there is no such file, from the folder of the list."""
    return Path(name) if Path(name).exists() else folder / name


def _print(given: dict[str, str], score: float, limit: tuple[float, float | None], as_json: bool) -> None:
    threshold, rate = limit
    is_same = score > threshold
    if as_json:
        session.print_json(
            **given, score=round(score, 6), same=is_same, threshold=round(threshold, 6), false_accept_rate=rate
        )
        return
    meaning = "" if rate is None else f", at which {rate:.2g} of the pairs of different people pass"
    said = "the same person" if is_same else "different people"
    files = " and ".join(given.values())
    print(printable(f"{files}: {said} (score {score:.3f}; threshold {threshold:.3f}{meaning})"))
