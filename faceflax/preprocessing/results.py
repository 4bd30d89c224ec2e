"""Which faces of a source lie in a folder, and whose they are, by the record beside them: NAME.json for NAME.png.

The record is there before the first face, without the list of them: what an interrupted run left is known by its names.
"""

import filecmp
import itertools
import os
import re
from pathlib import Path
from typing import Any

from faceflax.errors import UserError
from faceflax.files import parse_json, write_json
from faceflax.preprocessing import acquire

_LONGEST = 240  # bytes of a name, of the 255 that most file systems allow; the suffix and "+2" come to it
_FRAME = re.compile(r"\d{6,}(\+\d+)?\.png")
_UNFINISHED = "unfinished"  # in a record, the files of such names that were there before and are no faces of it


def settle(source: Path, output: Path, out: Path) -> Path:
    """Returns where the first face of a file goes: `output`, or beside it with the file's suffix in its name.

    The latter where another file of the same stem has the former by an earlier run, as a.png after a.jpg. Raises
    `UserError` when both are another's, when a file of the same name and other content has it and is still there, when
    no file can have a name so long, and when the file is itself a face that an earlier run put below `out`.
    """
    if Path(os.path.realpath(source.parent)).is_relative_to(os.path.realpath(out)) and _is_made(source):
        raise UserError(f"{source}: a face that faceflax normalize made; choose an --out apart from the photographs")
    if len(os.fsencode(output.name)) > _LONGEST:
        raise UserError(f"{source}: its name is too long, as those of its results would be longer; shorten it")
    for each in (output, output.with_name(f"{source.stem}{source.suffix.lower()}.png")):
        record = read(each)
        if record.get("source") == name(str(source)) and _is_anothers(record, source):
            raise UserError(f"{source}: {each} is there already, of {record['path']}; choose another --out")
        if record.get("source") in (None, name(str(source))):
            return each
    raise UserError(f"{source}: {output} is there already, of another file; choose another --out")


def name(source: str) -> str:
    """What a record says that its source is: a live one's address without secrets, or a file's own name."""
    own = acquire.shown(source) if acquire.is_live(source) else Path(source).name
    return own.encode(errors="replace").decode()


def _is_anothers(record: dict[str, Any], source: Path) -> bool:
    """Whether the file that a record is of is another one than `source`, of other content, and still there."""
    other = Path(record.get("path", source))
    try:
        return not other.samefile(source) and not filecmp.cmp(other, source, shallow=False)
    except OSError:
        return False


def _is_made(source: Path) -> bool:
    """Whether a record beside a picture, or beside its folder if it is a video's, says that it is a face of its own."""
    path = source.absolute()
    stems = {path.stem, path.stem.rpartition("+")[0] or path.stem}
    outputs = [*(path.with_name(f"{stem}.png") for stem in stems), path.parent.with_name(f"{path.parent.name}.png")]
    return any(output.parent / face == path for output in outputs for face in made(output, read(output)))


def read(output: Path) -> dict[str, Any]:
    """Returns the record of the source whose first face is `output`; empty where there is none that can be read."""
    try:
        record = parse_json(output.with_suffix(".json").read_bytes())
        is_record = all("file" in face for face in record["faces"]) and isinstance(record["refused"], list)
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return record if is_record else {}


def is_whole(record: dict[str, Any]) -> bool:
    """Whether the run that wrote a record came to its end."""
    return _UNFINISHED not in record


def begin(output: Path, identity: dict[str, Any]) -> None:
    """Says, before any face of a source is written, that its faces will be; raises `UserError` if it cannot."""
    others = sorted(_named(output) - made(output, read(output)))
    write_json(output.with_suffix(".json"), identity | {"faces": [], "refused": [], _UNFINISHED: others})


def finish(output: Path, record: dict[str, Any], *, is_live: bool) -> None:
    """Writes the record of a source whose faces are all there, and removes those that earlier runs made in excess.

    Of a live source none is removed, as it cannot be made again.
    """
    if not is_live:
        _remove_faces(output, made(output, read(output)) - {face["file"] for face in record["faces"]})
    write_json(output.with_suffix(".json"), record)


def remove(output: Path) -> None:
    """Removes a source's faces and their record."""
    _remove_faces(output, made(output, read(output)))
    output.with_suffix(".json").unlink(missing_ok=True)


def made(output: Path, record: dict[str, Any]) -> set[str]:
    """Returns the faces that a record is of, beside `output`: those that it lists, or may have come to be."""
    if not is_whole(record):
        return _named(output) - set(record[_UNFINISHED])
    return {face["file"] for face in record.get("faces", ())}


def _named(output: Path) -> set[str]:
    """The files that have names as the faces of a source do, and no record of their own."""
    further = (output.with_name(f"{output.stem}+{number}.png") for number in itertools.count(2))
    found = [output] * output.is_file() + list(itertools.takewhile(Path.is_file, further))
    folder = output.with_suffix("")
    frames = folder.iterdir() if folder.is_dir() else ()
    found += [path for path in frames if _FRAME.fullmatch(path.name)]
    return {
        path.relative_to(output.parent).as_posix()
        for path in found
        if path == output or not path.with_suffix(".json").exists()
    }


def _remove_faces(output: Path, faces: set[str]) -> None:
    """Removes faces by their names, as far as they are those of the source that becomes `output`.

    The last first: those that an interruption leaves are still counted through.
    """
    for face in sorted(faces, key=lambda face: (len(face), face), reverse=True):
        file = Path(face)
        is_ours = file.suffix == ".png" and file.parts[0].startswith(output.stem) and ".." not in file.parts
        if is_ours and not file.is_absolute():
            (output.parent / file).unlink(missing_ok=True)
