"""What the commands on faces share: gallery, encoder and threshold, who is in which file, how files become vectors.

Networks and databases take a second or more to import: whatever can be refused without them is refused before.
"""

import argparse
import collections
import contextlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import acquire, console, detection, inputs
from faceflax.progress import progress_bar
from faceflax.recognition import calibration, place, records, store
from faceflax.recognition.calibration import Calibration
from faceflax.recognition.gallery import Gallery

if TYPE_CHECKING:
    from faceflax.models.face_encoder import FaceEncoder
    from faceflax.recognition.embedding import Embedded, Embedder

_SHOWN = 5  # names in a sentence


def check(arguments: argparse.Namespace, *, create: bool = False) -> None:
    """Raises `UserError` for those of the shared arguments that name no gallery, no threshold or no size of a batch.

    Call it before any work; with `create` the gallery need not be there.
    """
    given = vars(arguments)
    if "gallery" in given:
        place.check(arguments.gallery, create=create)
    if given.get("batch_size", 1) < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is not a number of photographs; make it 1 or more")
    if "threshold" in given:
        _check_threshold(arguments)


def _check_threshold(arguments: argparse.Namespace) -> None:
    if arguments.calibration is not None and arguments.threshold is not None:
        raise UserError("--threshold and --calibration both say what passes; give one of them")
    if arguments.threshold is not None and not -1 <= arguments.threshold <= 1:  # also what is no number
        raise UserError(f"--threshold {arguments.threshold:g} is no score; choose one from -1 to 1")


@contextlib.contextmanager
def open_gallery(uri: str, *, create: bool = False) -> Iterator[Gallery]:
    """Opens the gallery, and closes it at the end; raises `UserError` as `store.connect` does."""
    with store.connect(uri, create=create) as opened:
        yield Gallery(opened, lambda sentence: print(console.printable(sentence), file=sys.stderr, flush=True))


def choose_encoder(gallery: Gallery | None, name: str | None) -> "FaceEncoder":
    """Returns the encoder `name`, by default the gallery's; raises `UserError` where that holds another's vectors."""
    from faceflax.models import face_encoder

    encoder = face_encoder.create(name or (gallery and gallery.encoder) or face_encoder.DEFAULT)
    if gallery is not None:
        gallery.check(encoder)
    return encoder


def choose_threshold(arguments: argparse.Namespace, encoder: "FaceEncoder") -> tuple[float, Calibration | None]:
    """Returns --threshold, else that of --calibration, else the encoder's own; and how it was measured, if known.

    Raises `UserError` where there is none.
    """
    if arguments.threshold is not None:
        return arguments.threshold, None
    found = calibration.load(None if arguments.calibration is None else Path(arguments.calibration), encoder)
    return found.threshold, found


def create_embedder(encoder: "FaceEncoder", arguments: argparse.Namespace, *, every: bool = False) -> "Embedder":
    """Returns the encoder, ready for photographs, or for crops where the arguments say `aligned`.

    With `every` all faces on a photograph are meant, unless the arguments say `largest`.
    """
    from faceflax.recognition import embedding
    from faceflax.training import runtime

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    find, size = None, encoder.image_size
    if arguments.aligned:
        cut = embedding.whole(size)
    else:
        detect = detection.load_detector()
        cut = embedding.photographed(detect, size, largest=arguments.largest)
        find = embedding.every_face(detect, size) if every and not arguments.largest else None
    runtime.start()
    return embedding.Embedder(encoder, cut, arguments.batch_size, find)


class People(NamedTuple):
    """Who is on which photographs, by the names of folders or the one that was given.

    Attributes:
      names: of each image file the person's.
      refused: one sentence for each photograph that has no name, with its path, and for each argument that is none.
      whole: the names of folders that hold no folders of images, so that each is one person.
      parts: the names of folders in folders that were given, each one person as well.
    """

    names: dict[Path, str]
    refused: list[tuple[Path | None, str]]
    whole: list[str]
    parts: list[str]


def find_people(given: Sequence[Path], name: str | None) -> People:
    """Returns whose photographs are given.

    With a `name` all are that person. Without, a folder of folders holds one person in each, under the folder's name;
    a folder that holds no folders of images is one person itself. A file that is named twice, in whatever spelling or
    by a link, counts once for a person, as it was named first; one that is not there is taken for a photograph.

    Raises `UserError` where `name` cannot be one.
    """
    if name is not None:
        records.check_name(name)
    people: dict[Path, str] = {}
    nameless: dict[str, tuple[Path, str]] = {}  # by where it really lies
    taken: dict[str, set[str]] = collections.defaultdict(set)  # names, by where the file really lies
    refused: list[tuple[Path | None, str]] = []
    whole: dict[str, None] = {}
    parts: dict[str, None] = {}
    for one in given:
        files, missing = inputs.list_images([one])
        if missing and not one.is_dir() and not acquire.is_pattern(os.fspath(one)):
            nameless[os.path.realpath(one)] = (one, missing[0])
        else:
            refused += [(None, sentence) for sentence in missing]
        nested = any(len(below.parts) > 1 for _, below in files)
        for file, below in files:
            place = os.path.realpath(file)
            try:
                own = records.check_name(name or _folder_of(one, below, nested))
            except UserError as error:
                nameless.setdefault(place, (file, f"{file}: {error}"))
                continue
            if own not in taken[place]:
                people.setdefault(file, own)
                taken[place].add(own)
            if name is None:
                (parts if nested else whole)[people.get(file, own)] = None
    refused += [each for place, each in nameless.items() if place not in taken]
    return People(people, refused, list(whole), list(parts))


def _folder_of(given: Path, below: Path, nested: bool) -> str:
    """The name that a file bears by its folder; raises `UserError` where it lies in none that is a person's."""
    if not (nested or given.is_dir()):  # a file, or a pattern
        raise UserError("say who it is with --name, or enrol the folder that bears the name")
    if nested and len(below.parts) == 1:
        raise UserError(f"lies beside the people's folders in {given}; move it into one of them")
    return below.parts[0] if nested else given.resolve().name


class Failures:
    """Notes what is wrong with files, and says it on stderr at once."""

    def __init__(self, sentences: Sequence[str] = ()):
        self.by_path: dict[Path, str] = {}
        self.count = 0
        for sentence in sentences:
            self.note(None, sentence)

    def note(self, path: Path | None, sentence: str) -> None:
        """Says a sentence about a file, or about an argument that is no file."""
        self.count += 1
        if path is not None:
            self.by_path[path] = sentence
        console.report(sentence)


def embed(embedder: "Embedder", paths: Sequence[Path], failures: Failures, doing: str) -> "Iterator[list[Embedded]]":
    """As `Embedder.files`, behind a progress bar."""
    with progress_bar() as progress:
        bar = progress.add_task(doing, total=len(paths))
        yield from embedder.files(paths, failures.note, lambda: progress.advance(bar))


def embed_all(embedder: "Embedder", paths: Sequence[Path], failures: Failures, doing: str) -> "dict[Path, Embedded]":
    """Returns the face of each file that has one, by its path; every file is embedded once."""
    unique = list(dict.fromkeys(paths))
    return {each.path: each for batch in embed(embedder, unique, failures, doing) for each in batch}


def stack(faces: "Sequence[Embedded]", size: int) -> np.ndarray:
    """Returns the vectors of faces, [N, size]."""
    return np.array([face.vector for face in faces], np.float32).reshape(-1, size)


def same_photograph(path: Path, kept: str, other: str, name: str) -> str:
    """Says that a photograph that is `kept` ("enrolled") as one person is given as another."""
    return f"{path}: the same photograph is {kept} as {other}, and cannot be {name} as well; take it away here"


def print_json(**values: Any) -> None:
    """Prints one line of JSON."""
    print(console.printable(json.dumps(values, ensure_ascii=False)), flush=True)


def say(text: str) -> None:
    """Prints one line: names of files, and in a database of another program's, may hold what a terminal obeys."""
    print(console.printable(text), flush=True)


def people(count: int) -> str:
    """Returns so many people, in words."""
    return "1 person" if count == 1 else f"{count} people"


def some_of(names: Collection[str]) -> str:
    """Returns the first of the names, sorted, in words."""
    return ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
