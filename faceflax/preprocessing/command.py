"""What `faceflax normalize` does."""

import argparse
import collections
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Container
from pathlib import Path

from faceflax import assets
from faceflax.errors import UserError, ended_in_order
from faceflax.preprocessing import acquire, console, results
from faceflax.preprocessing.alignment import TEMPLATES
from faceflax.preprocessing.chain import Settings
from faceflax.preprocessing.images import SUFFIXES
from faceflax.preprocessing.inputs import plan
from faceflax.preprocessing.normalising import Outcome, Work
from faceflax.preprocessing.workers import run_all
from faceflax.progress import progress_bar

_FURTHER = re.compile(r"(.+)\+\d+")  # the name of a picture's second face and those after it


def run(arguments: argparse.Namespace) -> int:
    """Normalises the sources that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be done at all: a wrong argument, an output folder that cannot be written, a
    network that cannot be fetched, a full disk.
    """
    settings, out = _settings(arguments), Path(arguments.out)
    with console.folder(out):
        return _run(arguments, settings, out)


def _run(arguments: argparse.Namespace, settings: Settings, out: Path) -> int:
    for asset in (assets.CENTERFACE, assets.FACE_MESH):
        assets.fetch(asset)
    works, failures = _plan(arguments, out)
    for failure in failures:
        console.report(failure)
    outcomes, total = [], len(works) + len(failures)
    workers = min(arguments.workers or os.cpu_count() or 1, max(1, len(works)))
    try:
        with (
            ended_in_order(),
            progress_bar() as progress,
            contextlib.closing(run_all(works, settings, workers)) as made,
        ):
            bar = progress.add_task("normalising", total=len(works))
            for outcome in made:
                if outcome.is_fatal:
                    raise UserError(outcome.failure)
                if outcome.failure:
                    console.report(outcome.failure)
                outcomes.append(outcome)
                progress.advance(bar)
    except KeyboardInterrupt as error:
        raise type(error)(f"{len(_done(outcomes))} of {total} sources are done") from error
    done = _done(outcomes)
    print(_summary(outcomes, done, total, out))
    return 0 if len(done) == total else 1


def _done(outcomes: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if not outcome.failure]


def _settings(arguments: argparse.Namespace) -> Settings:
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
            output = results.settle(job.source, job.output, out)
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


def _summary(outcomes: list[Outcome], done: list[Outcome], total: int, out: Path) -> str:
    faces, refused = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("faces", "refused"))
    kept = sum(not outcome.is_new for outcome in done)
    sources = console.counted(total, "source") + f" ({kept} done already)" * (kept > 0)
    made = console.counted(faces, "face") + f" ({refused} more refused, see the records)" * (refused > 0)
    return f"normalised {len(done)} of {sources}, {made}, into {console.printable(os.fspath(out))}"
