"""What `faceflax restore` does."""

import argparse
import sys
from pathlib import Path

import cv2
from absl import logging

from faceflax.errors import UserError
from faceflax.preprocessing import acquire, console
from faceflax.preprocessing.inputs import Job, plan
from faceflax.progress import progress_bar
from faceflax.restoration import aligned, interruption, photograph_command, restorers
from faceflax.restoration.restorers import Restorer

AUTO = "auto"  # for --mask: the segmenter finds it
MOST_UPSCALE = 4


def run(arguments: argparse.Namespace) -> int:
    """Restores the files that the arguments name; returns 0, 1 when some could not be, 130 after Ctrl-C or 143
    after SIGTERM.

    Raises `UserError` when nothing can be restored at all: no model, an output folder that cannot be written.
    """
    try:
        with interruption.ends_soon():
            return _run(arguments)
    except KeyboardInterrupt as error:
        word = interruption.word()
        print(f"{word}: {error}" if str(error) else word, file=sys.stderr, flush=True)
        interruption.finish()
        return interruption.status()


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    logging.set_verbosity(logging.ERROR)  # orbax tells of its every step otherwise
    live = [source for source in arguments.inputs if acquire.is_live(source)]
    for source in live:
        console.report(
            f"{acquire.shown(source)}: no such file; a camera or stream is for faceflax normalize, or record it"
        )
    arguments.inputs = [source for source in arguments.inputs if source not in live]
    if not arguments.inputs:
        return 1
    out = Path(arguments.out)
    with console.folder(out):
        status = _run_aligned(arguments, out) if arguments.aligned else photograph_command.run(arguments, out)
    return 1 if live else status


def _check(arguments: argparse.Namespace) -> None:
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is not a number of images; make it 1 or more")
    if (arguments.mask == AUTO) != bool(arguments.segmenter):
        raise UserError(
            "--mask auto and --segmenter WORKDIR belong together: the segmenter finds what covers the faces "
            "(a mask file of that name is ./auto)"
        )
    whole = {"--only-center-face": arguments.only_center_face, "--compare": arguments.compare}
    whole["--upscale"] = arguments.upscale != 1
    if arguments.aligned and any(whole.values()):
        given = next(name for name, is_given in whole.items() if is_given)
        raise UserError(f"{given} is for whole photographs; leave it or --aligned out")
    if not arguments.aligned and arguments.segmenter:
        raise UserError("--mask auto is for face crops; pass --aligned, or draw a mask for the photograph")
    if not 1 <= arguments.upscale <= MOST_UPSCALE:
        raise UserError(f"--upscale {arguments.upscale} is out of range; choose 1 to {MOST_UPSCALE}")
    restorers.check(arguments.model, arguments.fidelity)


def _run_aligned(arguments: argparse.Namespace, out: Path) -> int:
    masks = Path(arguments.mask) if arguments.mask and arguments.mask != AUTO else None
    jobs, failures = plan([Path(name) for name in arguments.inputs], out, masks)
    failures += [
        f"{job.source}: --aligned is for images, and this is a video, whose faces are found; restore it without"
        for job in jobs
        if acquire.is_video(job.source)
    ]
    jobs = [job for job in jobs if not acquire.is_video(job.source)]
    batch_size = min(arguments.batch_size, max(1, len(jobs)))
    restorer = restorers.load(arguments.model, arguments.fidelity, batch_size)
    if arguments.mirror:
        restorer = restorers.average_mirrored(restorer)
    finder = _load_finder(Path(arguments.segmenter), batch_size) if arguments.segmenter else None
    for failure in failures:
        console.report(failure)
    written = _restore(jobs, restorer, finder, batch_size)
    total = len(jobs) + len(failures)
    print(f"restored {written} of {console.counted(total, 'image')} into {console.printable(str(out))}")
    return 0 if written == total else 1


def _load_finder(segmenter: Path, batch_size: int) -> aligned.FindBatch:
    from faceflax.restoration import networks  # it needs jax, as not every restorer does

    return networks.prepare_finder(segmenter, batch_size)


def _restore(jobs: list[Job], restorer: Restorer, finder: aligned.FindBatch | None, batch_size: int) -> int:
    """Restores the files, with a `finder` where it finds something before the face; returns how many were written."""
    whole: list[None] = []
    with progress_bar() as progress:
        bar = progress.add_task("restoring", total=len(jobs))
        written = aligned.restore_files(
            jobs,
            restorer.restore,
            size=restorer.size,
            batch_size=batch_size,
            on_failure=console.report,
            advance=lambda: progress.advance(bar),
            find=finder,
            on_whole=lambda: whole.append(None),
        )
    if whole:
        what = "nothing before the face in" if finder else photograph_command.NO_HOLE
        print(f"found {what} {console.counted(len(whole), 'image')}, of which nothing was changed")
    return written
