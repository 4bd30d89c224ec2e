"""Normalises one source into its files: an aligned face each, and a record of what was measured and done."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.errors import UserError
from faceflax.files import write_json
from faceflax.preprocessing import acquire, console, images
from faceflax.preprocessing.chain import Normalise, Normalised, Settings
from faceflax.preprocessing.images import Photograph

_LONGEST = 240  # bytes of a name, of the 255 that most file systems allow; the suffix and "+2" come to it
NO_FACE = "no face found; a face needs about 20 pixels"


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

    @property
    def record(self) -> Path:
        """Where the record of the source is."""
        return self.output.with_suffix(".json")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a source: faces written (or there already), faces refused, a sentence if it failed."""

    faces: int = 0
    refused: int = 0
    is_new: bool = True
    failure: str = ""
    is_fatal: bool = False


def settle(source: Path, output: Path, out: Path) -> Path:
    """Returns where the first face of a file goes: `output`, or beside it with the file's suffix in its name.

    The latter where another file of the same stem has the former by an earlier run, as a.png after a.jpg. Raises
    `UserError` when both are another's, when no file can have a name so long, and when the file is itself a face that
    an earlier run put below `out`.
    """
    if Path(os.path.realpath(source.parent)).is_relative_to(os.path.realpath(out)) and _is_made(source):
        raise UserError(f"{source}: a face that faceflax normalize made; choose an --out apart from the photographs")
    if len(os.fsencode(output.name)) > _LONGEST:
        raise UserError(f"{source}: its name is too long, as those of its results would be longer; shorten it")
    outputs = (output, output.with_name(f"{source.stem}{source.suffix.lower()}.png"))
    free = [each for each in outputs if _earlier(each.with_suffix(".json")).get("source") in (None, _name(source))]
    if not free:
        raise UserError(f"{source}: {output} is there already, of another file; choose another --out")
    return free[0]


def _is_made(source: Path) -> bool:
    """Whether a record beside a picture, or beside its folder if it is a video's, says that it is a face of its own."""
    path = source.absolute()
    stems = {path.stem, path.stem.rpartition("+")[0] or path.stem}
    records = [*(path.with_name(f"{stem}.json") for stem in stems), Path(f"{path.parent}.json")]
    return any(record.parent / face["file"] == path for record in records for face in _earlier(record).get("faces", ()))


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
    record = identity | {"faces": [], "refused": []}
    for output, photograph in _pictures(work):
        _normalise_picture(output, photograph, chain, record, work)
    _remove_stale(work, record)
    _remove_renamed(work, identity)
    write_json(work.record, record)
    _aside(work.record).unlink(missing_ok=True)
    return _outcome(work, record, is_new=True)


def _identity(work: Work, settings: Settings) -> dict[str, Any]:
    """What has to be the same for faces to be kept; live sources are never the same."""
    name, made_by = _name(work.source), settings.made_by()
    if acquire.is_live(work.source):
        return {"source": name, **made_by}
    try:
        status = Path(work.source).stat()
    except OSError as error:
        raise UserError(f"{work.source}: cannot be read: {error.strerror or error}") from error
    file = {"source": name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    if work.has_frames:
        file |= {"every": work.every, "limit": work.limit}
    return file | made_by


def _name(source: str) -> str:
    """What a record says that its source is: a live one's address without secrets, or a file's own name."""
    name = acquire.shown(source) if acquire.is_live(source) else Path(source).name
    return name.encode(errors="replace").decode()


def _kept(work: Work, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier run that made the same, if all its files are there."""
    record = _read(work.record)
    if acquire.is_live(work.source) or {name: record.get(name) for name in identity} != identity:
        return None
    files = [work.output.parent / face["file"] for face in record["faces"]]
    return record if all(file.is_file() for file in files) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        is_record = all("file" in face for face in record["faces"]) and isinstance(record["refused"], list)
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return record if is_record else {}


def _aside(record: Path) -> Path:
    return record.with_name(f".{record.name}")


def _set_aside(work: Work) -> None:
    """Hides the record of an earlier run before its faces are overwritten.

    If that is interrupted, no record says of some of either kind that they are whole; what was to be removed is known.
    """
    try:
        if work.record.is_file():
            work.record.replace(_aside(work.record))
    except OSError as error:
        raise UserError(f"cannot write {work.record}: {error.strerror}; choose another --out") from error


def _earlier(record: Path) -> dict[str, Any]:
    """The record of an earlier run, also if a run after it was interrupted."""
    return _read(record) or _read(_aside(record))


def _pictures(work: Work) -> Iterator[tuple[Path, Photograph]]:
    """Yields each picture of the source, with the file of its first face."""
    if not work.has_frames:
        yield work.output, images.read(Path(work.source))
        return
    for number, frame in acquire.frames(work.source, work.every, work.limit):
        yield work.output.with_suffix("") / f"{number:06d}.png", Photograph(frame, None)


def _normalise_picture(
    output: Path, photograph: Photograph, chain: Normalise, record: dict[str, Any], work: Work
) -> None:
    """Writes the faces of one picture and adds them to the record."""
    faces, count = chain(images.to_srgb8(photograph)), 0
    _set_aside(work)
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


def _remove_stale(work: Work, record: dict[str, Any]) -> None:
    """Removes faces that an earlier run made of this file and this one does not; what was live cannot be made again."""
    if acquire.is_live(work.source):
        return
    made = {face["file"] for face in record["faces"]}
    earlier = [face["file"] for face in _earlier(work.record).get("faces", [])]
    _remove_faces(work.output, [file for file in earlier if file not in made])


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
        record = _earlier(other.with_suffix(".json"))
        if all(record.get(name) == identity[name] for name in ("source", "bytes", "modified_ns")):
            _remove_faces(other, [face["file"] for face in record["faces"]])
            for path in (other.with_suffix(".json"), _aside(other.with_suffix(".json"))):
                path.unlink(missing_ok=True)


def _remove_faces(output: Path, names: list[str]) -> None:
    """Removes faces by their names in a record, as far as they are those of the source that becomes `output`."""
    for name in names:
        file = Path(name)
        is_ours = file.suffix == ".png" and file.parts[0].startswith(output.stem) and ".." not in file.parts
        if is_ours and not file.is_absolute():
            (output.parent / file).unlink(missing_ok=True)


def _outcome(work: Work, record: dict[str, Any], *, is_new: bool) -> Outcome:
    faces, refused = len(record["faces"]), record["refused"]
    failure = ""
    if not faces:
        reason = refused[0]["refused"] if refused else NO_FACE
        failure = f"{acquire.shown(work.source)}: {reason}"
    return Outcome(faces, len(refused), is_new, failure)
