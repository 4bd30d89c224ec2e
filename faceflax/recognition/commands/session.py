"""What the commands on faces share: the gallery they open, the encoder they load, and how files reach it."""

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.models import face_encoder
from faceflax.models.face_encoder import FaceEncoder
from faceflax.preprocessing import console, detection
from faceflax.progress import progress_bar
from faceflax.recognition import embedding, store
from faceflax.recognition.embedding import Embedded, Embedder
from faceflax.recognition.gallery import Gallery
from faceflax.training import runtime


@contextlib.contextmanager
def open_gallery(uri: str, *, create: bool = False) -> Iterator[Gallery]:
    """Opens the gallery, and closes it at the end; raises `UserError` as `store.connect` does."""
    if not uri:
        raise UserError("--gallery is empty; name a file, such as faces.db, or a server, http://host:port")
    with store.connect(uri, create=create) as opened:
        yield Gallery(opened)


def choose_encoder(gallery: Gallery | None, name: str | None) -> FaceEncoder:
    """Returns the encoder `name`, by default the gallery's; raises `UserError` where that holds another's vectors."""
    encoder = face_encoder.create(name or (gallery and gallery.encoder) or face_encoder.DEFAULT)
    if gallery is not None:
        gallery.check(encoder)
    return encoder


def create_embedder(encoder: FaceEncoder, arguments: argparse.Namespace) -> Embedder:
    """Returns the encoder, ready for photographs, or for crops where the arguments say `aligned`."""
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is not a number of photographs; make it 1 or more")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    if arguments.aligned:
        cut = embedding.whole(encoder.image_size)
    else:
        cut = embedding.photographed(detection.load_detector(), encoder.image_size, largest=arguments.largest)
    runtime.start()
    return Embedder(encoder, cut, arguments.batch_size)


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


def embed(embedder: Embedder, paths: Sequence[Path], failures: Failures, doing: str) -> Iterator[list[Embedded]]:
    """As `Embedder.files`, behind a progress bar."""
    with progress_bar() as progress:
        bar = progress.add_task(doing, total=len(paths))
        yield from embedder.files(paths, failures.note, lambda: progress.advance(bar))


def embed_all(embedder: Embedder, paths: Sequence[Path], failures: Failures, doing: str) -> dict[Path, Embedded]:
    """Returns the face of each file that has one, by its path; every file is embedded once."""
    unique = list(dict.fromkeys(paths))
    return {each.path: each for batch in embed(embedder, unique, failures, doing) for each in batch}


def stack(faces: Sequence[Embedded], size: int) -> np.ndarray:
    """Returns the vectors of faces, [N, size]."""
    return np.array([face.vector for face in faces], np.float32).reshape(-1, size)


def print_json(**values: Any) -> None:
    """Prints one line of JSON."""
    print(console.printable(json.dumps(values, ensure_ascii=False)), flush=True)
