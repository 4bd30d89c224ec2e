"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceflax.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_unfinished: set[Path] = set()  # temporary paths that are being written


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path` (same suffix); on success it becomes `path`, on failure it is removed.

    Parent folders are made. Raises `UserError` when the place cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}.{uuid.uuid4().hex[:8]}{path.suffix}")
    _unfinished.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        advice = "free space or choose another place" if error.errno in _FULL else "choose another place"
        raise UserError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def close_folder(folder: Path) -> None:
    """Makes the folder for its owner alone, and closes one that is there and our own; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)


def remove_unfinished() -> None:
    """Removes what other threads are writing, for a process that ends without waiting for them."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
