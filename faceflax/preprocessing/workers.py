"""The processes that normalise: a death costs one source alone, and none is left when the command ends."""

import collections
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

import cv2

from faceflax import files
from faceflax.preprocessing import acquire, chain
from faceflax.preprocessing.chain import Settings
from faceflax.preprocessing.normalising import Outcome, Work, normalise_source

_ATTEMPTS = 2  # of what a process died of; memory may be there the next time


def run_all(works: list[Work], settings: Settings, workers: int) -> Iterator[Outcome]:
    """Yields what became of each source, in no order, from as many processes as `workers`.

    Close it (`contextlib.closing`) when something else goes wrong: the processes end at once, with nothing written in
    part. They do so, too, when this process dies.
    """
    waiting = collections.deque((work, 1) for work in works)
    # Each process is a pool of its own, so that its death is seen to be of the one source that it had.
    idle = [_Process(settings) for _ in range(workers)]
    running: dict[Future, tuple[_Process, Work, int]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                process, (work, attempt) = idle.pop(), waiting.popleft()
                running[process.submit(work, settings)] = process, work, attempt
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, work, attempt = running[future]
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    process.stop()
                    process.wait()
                    process, outcome = _Process(settings), None
                    # What a camera showed cannot be made again, and what was kept of it is not to be overwritten.
                    if attempt < _ATTEMPTS and not acquire.is_live(work.source):
                        waiting.appendleft((work, attempt + 1))
                    else:
                        reason = (
                            "the process that read it died; if memory was short, make it smaller or pass --workers 1"
                        )
                        outcome = Outcome(failure=f"{acquire.shown(work.source)}: {reason}")
                del running[future]
                idle.append(process)
                if outcome is not None:
                    yield outcome
    finally:
        left = [*idle, *(process for process, _, _ in running.values())]
        for process in left:
            process.stop()
        for process in left:
            process.wait()


class _Process:
    """One process, that ends when it is told to, whatever it is at, or when this one is no more."""

    def __init__(self, settings: Settings):
        # Nobody writes to the pipe: its end, which this process's death makes too, is the sign.
        self._watched, self._held = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _start_process, (settings, self._watched))

    def submit(self, work: Work, settings: Settings) -> Future:
        """Gives it a source; one that died before it had any breaks this attempt, too."""
        try:
            return self._pool.submit(_normalise, work, settings)
        except BrokenProcessPool as error:
            broken: Future = Future()
            broken.set_exception(error)
            return broken

    def stop(self) -> None:
        """Has it end at once."""
        self._held.close()
        self._watched.close()

    def wait(self) -> None:
        """Returns when it has ended."""
        self._pool.shutdown(cancel_futures=True)


@functools.cache
def _chain(settings: Settings) -> chain.Normalise:
    return chain.load_chain(settings)


def _start_process(settings: Settings, watched: Connection) -> None:
    """As `_start`, with nobody to hear what libpng and libjpeg say of damaged files: our own words follow.

    Ctrl-C reaches all processes of a terminal; the command's own process tells the others to end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    _start(settings)


def _end_with(watched: Connection) -> None:
    """Ends this process as soon as the other end of the pipe is closed."""
    watched.poll(None)
    files.remove_unfinished()
    os._exit(1)


def _start(settings: Settings) -> None:
    """Makes a process ready; one thread each, as there are as many processes as cores."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    _chain(settings)


def _normalise(work: Work, settings: Settings) -> Outcome:
    return normalise_source(work, settings, _chain(settings))
