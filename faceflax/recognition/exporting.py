"""Training sets out of a gallery: its vectors as a tfds dataset, or its people's photographs as a folder of folders."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from faceflax.datasets.face_folder import listing
from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.recognition.gallery import Gallery

_LONGEST = 255  # bytes of a file's name


def export_vectors(gallery: Gallery, condition: str, out: Path) -> Path:
    """Writes the vectors that fulfil the condition as the tfds dataset gallery_vectors below `out`; returns its folder.

    `tfds.builder_from_directory` reads it: `vector`, `identity`, `source` (the first photograph's SHA-256). Raises
    `UserError` where there are none, where the dataset is there already, and where others can read `out`.
    """
    from faceflax.datasets import registry
    from faceflax.datasets.gallery_vectors.gallery_vectors import GalleryVectorsConfig

    def examples() -> Iterator[tuple[str, str, np.ndarray]]:
        for records, vectors in gallery.vectors(condition):
            for record, vector in zip(records, vectors, strict=True):
                yield record.name, record.sources[0], vector

    people = sorted({record.name for record in gallery.records(condition)})
    if not people:
        raise _nobody(gallery)
    size = len(next(examples())[2])
    description = f"{len(people)} people, vectors of {gallery.encoder}"
    config = GalleryVectorsConfig(description=description, people=people, size=size, examples=examples)
    _make_private(out)
    builder = registry.builder("gallery_vectors", data_dir=str(out), config=config)
    if Path(builder.data_dir).exists():
        raise _taken(builder.data_dir)
    folder = Path(registry.build(builder).data_dir)
    for path in (out / builder.name, *(out / builder.name).rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def export_photographs(
    gallery: Gallery, condition: str, out: Path, photographs: Iterable[tuple[str, Path]]
) -> tuple[int, int]:
    """Copies enrolled photographs to `out`/PERSON/SHA256.SUFFIX, found among files by the SHA-256 of their bytes.

    Such a folder can be enrolled, calibrated on and trained on (as the dataset `people_folder`). Who was deleted since
    must not come back, so the folder may hold nothing yet. For names of folders see `_folder_name`.

    Args:
      gallery: what is exported.
      condition: which of its records.
      out: the folder; made for its owner alone.
      photographs: SHA-256 and place of the files at hand; asked for when all else is found in order.

    Returns:
      How many were copied, and how many enrolled photographs are not among the files.

    Raises:
      UserError: nobody fulfils the condition, or the folder cannot be written or holds something already.
    """
    wanted = {(record.name, source) for record in gallery.records(condition) for source in record.sources}
    if not wanted:
        raise _nobody(gallery)
    _make_private(out)
    if any(out.iterdir()):
        raise _taken(out)
    places = dict(photographs)
    copied = 0
    for name, source in sorted(wanted):
        if source in places:
            folder = out / _folder_name(name)
            _make_private(folder)
            with atomic_path(folder / f"{source}{places[source].suffix.lower()}") as temporary:
                temporary.touch(mode=0o600)
                shutil.copyfile(places[source], temporary)
            copied += 1
    return copied, len(wanted) - copied


def _folder_name(name: str) -> str:
    """A file name for any name, and for no two the same.

    One that begins with a dot would be hidden, or lead out of the folder; one of a split's name would be taken for that
    by `people_folder`. One that is too long ends in a hash.
    """
    plain = name.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C")
    if plain.startswith(".") or plain in listing.SPLITS:
        plain = f"%{ord(plain[0]):02X}{plain[1:]}"
    encoded = os.fsencode(plain)
    if len(encoded) <= _LONGEST:
        return plain
    end = f"%{hashlib.sha256(encoded).hexdigest()[:16]}"
    return encoded[: _LONGEST - len(end)].decode(errors="ignore") + end


def _nobody(gallery: Gallery) -> UserError:
    return UserError(f"nobody in the gallery {gallery.uri} is meant; faceflax gallery list shows who is there")


def _taken(place: str | Path) -> UserError:
    return UserError(f"{place} is there already; choose another --out or remove it")


def _make_private(out: Path) -> None:
    """Makes the folder for its owner alone; one that is there and holds nothing becomes so."""
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_open = out.stat().st_mode & 0o077
        if is_open and any(out.iterdir()):
            raise UserError(f"others can look into the folder {out}; choose another --out, or close it with chmod 700")
        if is_open:
            out.chmod(0o700)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
