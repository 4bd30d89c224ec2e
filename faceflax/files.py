"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
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
    """Writes `value` as indented JSON with sorted keys to `path`, whole or not at all.

    A byte of a file's name that is no UTF-8, which JSON cannot hold, is written as `\\xe9` is, and so that nothing else
    looks like one, the backslash before an x as `\\x5c`.
    """
    write_text(path, json.dumps(_in_texts(value, _spelt), indent=2, sort_keys=True) + "\n")


def parse_json(text: str | bytes) -> Any:
    """Returns what `write_json` wrote, with the names that files have; raises `ValueError` for what is no JSON."""
    return _in_texts(json.loads(text), _named)


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {_in_texts(key, change): _in_texts(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_texts(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _spelt(text: str) -> str:
    # Python holds such bytes as U+DC80 to U+DCFF (PEP 383); other halves of pairs mean nothing.
    text = re.sub(r"[\udc80-\udcff]|\\(?=x)", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)
    return text.encode(errors="replace").decode()


def _named(text: str) -> str:
    return re.sub(
        r"\\x(5c|[89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1]).decode(errors="surrogateescape"), text
    )
