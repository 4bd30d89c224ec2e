"""Ctrl-C: one ends a command soon, whatever its threads are at, and a second one does no harm."""

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

STATUS = 130  # as shells expect
_is_stopped = threading.Event()
_PATIENCE = 1.5  # seconds for the threads to end what they are at
_PATIENCE_WITH_CHILD = 0.2  # seconds for a process that was killed to be gone
_children: set[subprocess.Popen] = set()


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    """Within it, SIGINT raises one `KeyboardInterrupt`, and the process is over 1.5 seconds later, with status 130.

    A thread in the middle of a library's call cannot be stopped; what it had written in part is removed. Further
    SIGINTs are passed over. Does nothing in a thread that is not the main one, which signals do not reach, and where
    SIGINT is ignored, as by a shell's jobs in the background.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _stop:
            signal.signal(signal.SIGINT, before)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _is_stopped.set()
    timer = threading.Timer(_PATIENCE, _end)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Yields a process that writes a file; it is over afterwards, and also where SIGINT ends this process before."""
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
    """Ends the process if SIGINT came within `ends_soon`, after its threads have ended or the time is over.

    What was printed is written out, unless nobody takes it until then.
    """
    if not _is_stopped.is_set():
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
    os._exit(STATUS)  # at once, so that no thread begins another
