"""Ctrl-C and SIGTERM: one ends a command soon, whatever its threads are at, and a second one does no harm."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from faceflax import files

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_stopped_by: list[int] = []  # the signal that came, if any
_PATIENCE = 1.5  # seconds for the threads to end what they are at
_PATIENCE_WITH_CHILD = 0.2  # seconds for a process that was killed to be gone
_children: set[subprocess.Popen] = set()


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    """Within it, SIGINT or SIGTERM raises one `KeyboardInterrupt`; the process ends 1.5 seconds later with `status`.

    A thread in the middle of a library's call cannot be stopped; what it had written in part is removed. Further
    signals are passed over. Does nothing in a thread that is not the main one, which signals do not reach, and nothing
    of a signal that is ignored, as SIGINT is by a shell's jobs in the background.
    """
    is_main = threading.current_thread() is threading.main_thread()
    heeded = [number for number in _WORDS if is_main and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in heeded}
    try:
        yield
    finally:
        for number in heeded:
            if signal.getsignal(number) is _stop:
                signal.signal(number, before[number])


def status() -> int:
    """What shells expect of a process that was stopped: 143 after SIGTERM within `ends_soon`, else 130."""
    return 128 + (_stopped_by or [signal.SIGINT])[0]


def word() -> str:
    """What was done to the process, in a word: "terminated" after SIGTERM within `ends_soon`, else "interrupted"."""
    return _WORDS[(_stopped_by or [signal.SIGINT])[0]]


def _stop(number: int, frame: FrameType | None) -> None:
    for each in _WORDS:
        signal.signal(each, signal.SIG_IGN)
    _stopped_by.append(number)
    timer = threading.Timer(_PATIENCE, _end)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Yields a process that writes a file; it is over afterwards, and also where a signal ends this one before."""
    process = subprocess.Popen(command, **options)
    _children.add(process)
    try:
        yield process
    finally:
        _kill(process)
        _children.discard(process)


def _kill(process: subprocess.Popen, patience: float | None = None) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(patience)


def finish() -> None:
    """Ends the process if SIGINT or SIGTERM came within `ends_soon`, after its threads have ended or the time is over.

    What was printed is written out, unless nobody takes it until then.
    """
    if not _stopped_by:
        return
    end = time.monotonic() + _PATIENCE
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()  # it may wait for ever for a reader, but `_end` does not wait for it
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
    _end()  # Python's own way out takes seconds with these libraries


def _end() -> None:
    for process in list(_children):  # first, as one might yet open the file that it is to write
        with contextlib.suppress(subprocess.TimeoutExpired):
            _kill(process, _PATIENCE_WITH_CHILD)
    files.remove_unfinished()
    os._exit(status())  # at once, so that no thread begins another
