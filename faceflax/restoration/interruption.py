"""Ctrl-C: one ends a command soon, whatever its threads are at, and a second one does no harm."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from faceflax import files

STATUS = 130  # as shells expect
_PATIENCE = 1.5  # seconds for the threads to end what they are at


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    """Within it, SIGINT raises one `KeyboardInterrupt`, and the process is over 1.5 seconds later, with status 130.

    A thread in the middle of a library's call cannot be stopped; what it had written in part is removed. Further
    SIGINTs are passed over. Does nothing in a thread that is not the main one, which signals do not reach.
    """
    if threading.current_thread() is not threading.main_thread():
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
    timer = threading.Timer(_PATIENCE, _end)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _end() -> None:
    files.remove_unfinished()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(STATUS)
