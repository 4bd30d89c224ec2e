"""What `faceflax normalize` does."""

import argparse
import collections
import functools
import hashlib
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Container, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2

from faceflax import assets
from faceflax.errors import UserError
from faceflax.preprocessing import acquire, chain, console
from faceflax.preprocessing.alignment import TEMPLATES
from faceflax.preprocessing.chain import Settings
from faceflax.preprocessing.images import SUFFIXES
from faceflax.preprocessing.inputs import plan
from faceflax.preprocessing.normalising import Outcome, Work, normalise_source, settle
from faceflax.progress import progress_bar

_FURTHER = re.compile(r"(.+)\+\d+")  # the name of a picture's second face and those after it
_ATTEMPTS = 2  # of what a process died of; memory may be there the next time


def run(arguments: argparse.Namespace) -> int:
    """Normalises the sources that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be done at all: a wrong argument, an output folder that cannot be written, a
    network that cannot be fetched, a full disk.
    """
    settings = _settings(arguments)
    out = Path(arguments.out)
    console.make_folder(out)
    for asset in (assets.CENTERFACE, assets.FACE_MESH):
        assets.fetch(asset)
    works, failures = _plan(arguments, out)
    for failure in failures:
        console.report(failure)
    outcomes = []
    workers = min(arguments.workers or os.cpu_count() or 1, max(1, len(works)))
    with progress_bar() as progress:
        bar = progress.add_task("normalising", total=len(works))
        for outcome in _run_all(works, settings, workers):
            if outcome.is_fatal:
                raise UserError(outcome.failure)
            if outcome.failure:
                console.report(outcome.failure)
            outcomes.append(outcome)
            progress.advance(bar)
    done = [outcome for outcome in outcomes if not outcome.failure]
    print(_summary(outcomes, done, len(works) + len(failures), out))
    return 0 if len(done) == len(works) + len(failures) else 1


def _settings(arguments: argparse.Namespace) -> Settings:
    if not arguments.out or "" in arguments.inputs:
        raise UserError("an empty name was given as --out or as an input; name a file or folder")
    if arguments.template not in TEMPLATES:
        raise UserError(f'--template "{arguments.template}" does not exist; choose one of {", ".join(TEMPLATES)}')
    if not 16 <= arguments.size <= 2048:
        raise UserError(f"--size {arguments.size} is not a side of a crop; choose 16 to 2048 pixels")
    for name in ("every", "frames", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} is too few; make it 1 or more")
    if not 0 <= arguments.max_yaw <= 180:
        raise UserError(
            f"--max-yaw {arguments.max_yaw:g} is not how far a face may look aside; choose 0 to 180 degrees"
        )
    if not arguments.min_side >= 0:
        raise UserError(f"--min-side {arguments.min_side:g} is not a number of pixels; choose 0 or more")
    return Settings(
        size=arguments.size,
        template=arguments.template,
        frontal=arguments.frontal,
        relight=arguments.relight,
        denoise=arguments.denoise,
        max_yaw=arguments.max_yaw,
        min_side=arguments.min_side,
        only_largest=arguments.only_largest,
    )


def _plan(arguments: argparse.Namespace, out: Path) -> tuple[list[Work], list[str]]:
    live = [source for source in arguments.inputs if acquire.is_live(source)]
    files = [Path(source) for source in arguments.inputs if source not in live]
    jobs, failures = plan(files, out, None, SUFFIXES + acquire.VIDEO_SUFFIXES)
    works = []
    for job in jobs:
        try:
            output = settle(job.source, job.output, out)
            works.append(Work(os.fspath(job.source), output, arguments.every, arguments.frames))
        except UserError as error:
            failures.append(str(error))
    started = time.strftime("%Y%m%d-%H%M%S")
    for source in dict.fromkeys(live):
        output = _new_name(out, source, started, {work.output for work in works})
        works.append(Work(source, output, arguments.every, arguments.frames or 100))
    return _keep_names_apart(works, failures)


def _new_name(out: Path, source: str, started: str, taken: Container[Path]) -> Path:
    """A name that no capture had before, as what a camera saw cannot be made again."""
    shown = acquire.shown(source)
    kind = f"camera{source}" if source.isdecimal() else f"stream{hashlib.sha256(os.fsencode(shown)).hexdigest()[:6]}"
    names = (out / f"{kind}-{started}{suffix}.png" for suffix in ("", *(f"-{number}" for number in range(2, 10_000))))
    return next(
        output
        for output in names
        if output not in taken and not output.with_suffix("").exists() and not output.with_suffix(".json").exists()
    )


def _keep_names_apart(works: list[Work], failures: list[str]) -> tuple[list[Work], list[str]]:
    """The works without those whose first face would have the name of another's face, or of its frame."""
    count = collections.Counter(work.output for work in works)
    folders = {work.output.with_suffix("") for work in works if work.has_frames}
    kept = []
    for work in works:
        further = _FURTHER.fullmatch(work.output.stem)
        is_taken = further and work.output.with_name(f"{further[1]}.png") in count
        if is_taken or count[work.output] > 1 or work.output.parent in folders:
            name = acquire.shown(work.source)
            failures.append(f"{name}: {work.output} may be a face of another source too; rename one or run it apart")
        else:
            kept.append(work)
    return kept, failures


def _run_all(works: list[Work], settings: Settings, workers: int) -> Iterator[Outcome]:
    waiting = collections.deque((work, 1) for work in works)
    # Each process is a pool of its own, so that its death is seen to be of the one source that it had.
    idle = [_new_process(settings) for _ in range(workers)]
    running: dict[Future, tuple[ProcessPoolExecutor, Work, int]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                process, (work, attempt) = idle.pop(), waiting.popleft()
                running[_submit(process, work, settings)] = process, work, attempt
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, work, attempt = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    process.shutdown(wait=False)
                    process = _new_process(settings)
                    if attempt < _ATTEMPTS:
                        waiting.appendleft((work, attempt + 1))
                        outcome = None
                    else:
                        reason = "the process that read it died; it may need too much memory"
                        outcome = Outcome(failure=f"{acquire.shown(work.source)}: {reason}")
                idle.append(process)
                if outcome is not None:
                    yield outcome
    finally:
        for process in [*idle, *(process for process, _, _ in running.values())]:
            process.shutdown(wait=False, cancel_futures=True)


def _submit(process: ProcessPoolExecutor, work: Work, settings: Settings) -> Future:
    """Gives a process a source; one that died before it had any breaks this attempt, too."""
    try:
        return process.submit(_normalise, work, settings)
    except BrokenProcessPool as error:
        broken: Future = Future()
        broken.set_exception(error)
        return broken


def _new_process(settings: Settings) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start_process, (settings,))


@functools.cache
def _chain(settings: Settings) -> chain.Normalise:
    return chain.load_chain(settings)


def _start_process(settings: Settings) -> None:
    """As `_start`, with nobody to hear what libpng and libjpeg say of damaged files: our own words follow."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    _start(settings)


def _start(settings: Settings) -> None:
    """Makes a process ready; one thread each, as there are as many processes as cores."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    _chain(settings)


def _normalise(work: Work, settings: Settings) -> Outcome:
    return normalise_source(work, settings, _chain(settings))


def _summary(outcomes: list[Outcome], done: list[Outcome], total: int, out: Path) -> str:
    faces, refused = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("faces", "refused"))
    kept = sum(not outcome.is_new for outcome in outcomes)
    sources, made = console.counted(total, "source"), console.counted(faces, "face")
    text = f"normalised {len(done)} of {sources}, {made}, into {console.printable(os.fspath(out))}"
    notes = [f"done already: {kept}"] * (kept > 0)
    notes += [f"faces refused: {refused}, see the records"] * (refused > 0)
    return f"{text} ({'; '.join(notes)})" if notes else text
