"""What the commands on image files say, and the folder that they write to."""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from faceflax.errors import UserError, printable

_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


@contextlib.contextmanager
def folder(out: Path) -> Iterator[None]:
    """Makes the folder of the results, and at the end removes it again where it made it and there are none.

    Raises `UserError`, before any work, when nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    with _folder(out):
        yield


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    made = [each for each in (out, *out.parents) if not os.path.lexists(each)]
    try:
        _make_folder(out)
        yield
    finally:
        below = (Path(parent) for parent, *_ in os.walk(out, topdown=False))
        for each in (*below, *made[1:]) if made else ():
            with contextlib.suppress(OSError):  # something is in it
                each.rmdir()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
    try:  # permissions say yes to root also where a file system takes no files
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"cannot write into the folder {out}; choose another --out") from error


def check_place(out: Path) -> None:
    """Raises `UserError` as `folder` does, where the result is the one file `out`, or when that is a folder.

    What it makes it removes; who writes the file makes it again.
    """
    if out.is_dir() or not out.name:
        raise UserError(f"--out {out} is a folder; name the file to write")
    with _folder(out.parent):
        pass


def counted(number: int, noun: str) -> str:
    """Returns "1 face", "2 faces"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def report(failure: str) -> None:
    """Prints one sentence on stderr for a file that could not be done."""
    print(f"error: {printable(failure)}", file=sys.stderr)


def is_fatal(error: UserError) -> bool:
    """Whether every other file would meet it too: a disk that is full, read-only or broken."""
    return getattr(error.__cause__, "errno", None) in _FATAL


@contextlib.contextmanager
def told_of(source: str) -> Iterator[None]:
    """Raises a `UserError` for what a file nobody foresaw made of our code or a library's, so that the rest goes on.

    The sentence names the exception's class, so that a fault of ours can be reported.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{source}: there is not enough memory for it; make it smaller or run it apart") from error
    except OSError as error:
        place = f" at {error.filename}" if error.filename else ""
        raise UserError(
            f"{source}: cannot be worked on: {error.strerror or error}{place}; try again or leave it out"
        ) from error
    except Exception as error:
        reason = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
        raise UserError(
            f"{source}: cannot be worked on, which is a fault of faceflax; please report it: {reason}"
        ) from error


@contextlib.contextmanager
def reported(on_failure: Callable[[str], None]) -> Iterator[None]:
    """Calls `on_failure` with a file's `UserError`; lets one through that will meet every other file."""
    try:
        yield
    except UserError as error:
        if is_fatal(error):
            raise
        on_failure(str(error))
