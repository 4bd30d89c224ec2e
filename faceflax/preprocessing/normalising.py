"""Normalises one source into its files: an aligned face each, and a record of what was measured and done."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import acquire, console, images, results
from faceflax.preprocessing.chain import Normalise, Normalised, Settings
from faceflax.preprocessing.images import Photograph

NO_FACE = "no face found; one needs about 20 pixels, so give a larger picture or leave it out"


@dataclasses.dataclass(frozen=True)
class Work:
    """One source to normalise.

    Attributes:
      source: a photograph's or video's path, a camera's index or a stream's URL.
      output: of a photograph's first face, NAME.png; a video's faces lie in the folder NAME.
      every: of a video, each how manieth frame is taken.
      limit: of a video, how many frames are taken at most.
    """

    source: str
    output: Path
    every: int = 1
    limit: int | None = None

    @property
    def has_frames(self) -> bool:
        """Whether it gives many pictures: a video, camera or stream."""
        return acquire.is_live(self.source) or acquire.is_video(Path(self.source))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a source: faces written (or there already), faces refused, a sentence if it failed."""

    faces: int = 0
    refused: int = 0
    is_new: bool = True
    failure: str = ""
    is_fatal: bool = False


def normalise_source(work: Work, settings: Settings, chain: Normalise) -> Outcome:
    """Writes the faces of a source and its record, unless they are there, made of the same file in the same way.

    Whatever is wrong with the source or its files is told by the outcome.
    """
    try:
        with console.told_of(acquire.shown(work.source)):
            return _normalise(work, settings, chain)
    except UserError as error:
        return Outcome(failure=str(error), is_fatal=console.is_fatal(error))


def _normalise(work: Work, settings: Settings, chain: Normalise) -> Outcome:
    identity = _identity(work, settings)
    kept = _kept(work, identity)
    if kept is not None:
        return _outcome(work, kept, is_new=False)
    record = identity | _place(work) | {"faces": [], "refused": []}
    for number, (output, photograph) in enumerate(_pictures(work)):
        found = chain(images.to_srgb8(photograph))
        if number == 0:
            results.begin(work.output, identity | _place(work))
        _write_faces(output, photograph, found, record, work)
    _remove_renamed(work, identity)
    results.finish(work.output, record, is_live=acquire.is_live(work.source))
    return _outcome(work, record, is_new=True)


def _place(work: Work) -> dict[str, str]:
    """Where a file was, which tells it from another of its name; its faces are kept when it moves."""
    return {} if acquire.is_live(work.source) else {"path": os.path.realpath(work.source)}


def _identity(work: Work, settings: Settings) -> dict[str, Any]:
    """What has to be the same for faces to be kept; live sources are never the same."""
    name, made_by = results.name(work.source), settings.made_by()
    if acquire.is_live(work.source):
        return {"source": name, **made_by}
    try:
        status = Path(work.source).stat()
    except OSError as error:
        raise UserError(
            f"{work.source}: cannot be read: {error.strerror or error}; check that it is there and may be read"
        ) from error
    file = {"source": name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    if work.has_frames:
        file |= {"every": work.every, "limit": work.limit}
    return file | made_by


def _kept(work: Work, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier run that made the same, if all its files are there."""
    record = results.read(work.output)
    if acquire.is_live(work.source) or {name: record.get(name) for name in identity} != identity:
        return None
    is_there = results.is_whole(record) and all(
        (work.output.parent / face).is_file() for face in results.made(work.output, record)
    )
    return record if is_there else None


def _pictures(work: Work) -> Iterator[tuple[Path, Photograph]]:
    """Yields each picture of the source, with the file of its first face."""
    if not work.has_frames:
        yield work.output, images.read(Path(work.source))
        return
    for number, frame in acquire.frames(work.source, work.every, work.limit):
        yield work.output.with_suffix("") / f"{number:06d}.png", Photograph(frame, None)


def _write_faces(
    output: Path, photograph: Photograph, faces: list[Normalised], record: dict[str, Any], work: Work
) -> None:
    """Writes the faces of one picture and adds them to the record."""
    count = 0
    for found in faces:
        if found.pixels is None:
            record["refused"].append({"picture": output.stem} | found.record)
            continue
        count += 1
        file = output if count == 1 else output.with_name(f"{output.stem}+{count}.png")
        images.write(file, _as_photograph(found, photograph))
        record["faces"].append({"file": file.relative_to(work.output.parent).as_posix()} | found.record)


def _as_photograph(found: Normalised, photograph: Photograph) -> Photograph:
    """A face in sRGB without its photograph's EXIF, which may say where; a grey one's stays grey."""
    pixels = found.pixels[..., 0] if photograph.pixels.ndim == 2 else found.pixels
    return Photograph(np.ascontiguousarray(pixels), None)


def _remove_renamed(work: Work, identity: dict[str, Any]) -> None:
    """Removes what an earlier run made of the same file under its other name: with its suffix in it, or without.

    Which of the two it has depends on the files beside it (see `inputs.plan`), that come and go.
    """
    if acquire.is_live(work.source):
        return
    source = Path(work.source)
    stems = {source.stem, source.stem + source.suffix.lower()}
    for stem in stems - {work.output.stem}:
        other = work.output.with_name(f"{stem}.png")
        record = results.read(other)
        if all(record.get(name) == identity[name] for name in ("source", "bytes", "modified_ns")):
            results.remove(other)


def _outcome(work: Work, record: dict[str, Any], *, is_new: bool) -> Outcome:
    faces, refused = len(record["faces"]), record["refused"]
    failure = ""
    if not faces:
        reason = refused[0]["refused"] if refused else NO_FACE
        failure = f"{acquire.shown(work.source)}: {reason}"
    return Outcome(faces, len(refused), is_new, failure)
