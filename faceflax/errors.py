"""Errors that people read: one sentence that says what is wrong and what to do, and no traceback."""

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_CONTROLS = {"Cc", "Zl", "Zp"}  # categories of Unicode that move a terminal's cursor, or end a line
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # that change the order of what is read


class UserError(Exception):
    """Something the user can mend. Its text is one plain sentence: what is wrong, and what to do."""

    status = 1
    """What a program ends with."""


class RefusedError(UserError):
    """A configuration that is refused as it is, however often and on whatever machine it is tried."""

    status = 2


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Within it, what is wrong is wrong with the configuration: a `UserError` becomes a `RefusedError`."""
    try:
        yield
    except UserError as error:
        raise RefusedError(str(error)) from error


def run_main(main: Callable[[], int | None]) -> None:
    """Runs a program's `main`, and ends the process with its exit status.

    A `UserError` is printed as one line on stderr and ends with its `status`; any other exception is a bug of ours and
    keeps its traceback. An interrupt ends with status 130, as shells expect, and a `Terminated` with 143; its text, if
    it has one, is printed. What cannot be printed, to a full disk or a program that has ended, is an error of the first
    kind.
    """
    sys.unraisablehook = _interrupt_again
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.status)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        with contextlib.suppress(OSError, ValueError):  # or Python would try once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: what was to be said could not be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, Terminated)
        word = "terminated" if is_terminated else "interrupted"
        print(f"{word}: {error}" if str(error) else word, file=sys.stderr)
        sys.exit(128 + (signal.SIGTERM if is_terminated else signal.SIGINT))
    sys.exit(status or 0)


class Terminated(KeyboardInterrupt):
    """SIGTERM came, within `ended_in_order`."""


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Within it, SIGTERM ends a program as Ctrl-C does, by an exception: what is open is closed, what is done is said.

    A second one changes nothing. Does nothing in a thread that is not the main one, which signals do not reach.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _interrupt_again(unraisable: Any) -> None:
    """Python passes over what is raised while it collects garbage, as JAX has it do; an interrupt must not be lost."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    number = signal.SIGINT
    if issubclass(unraisable.exc_type, Terminated):
        number = signal.SIGTERM
        signal.signal(number, _terminate)
    # When the collection has ended, and as a signal, which wakes a program that sleeps or waits.
    later = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, number))
    later.daemon = True
    later.start()


def printable(text: str) -> str:
    """Returns text with file names in it as one line that a terminal shows and does not obey.

    Bytes that are no UTF-8, which a stream would refuse, become U+FFFD; control characters, line ends and what turns
    the order of reading are written as JSON writes them, so that JSON stays the same JSON.
    """
    return "".join(map(_printable_letter, text))


def _printable_letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cs":
        return "\ufffd"
    is_control = category in _CONTROLS or unicodedata.bidirectional(letter) in _TURNS
    return json.dumps(letter)[1:-1] if is_control else letter
