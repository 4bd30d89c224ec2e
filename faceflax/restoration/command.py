"""What `faceflax restore` does."""

import argparse
import os
import sys
from pathlib import Path

import cv2
from absl import logging

from faceflax import models
from faceflax.errors import UserError
from faceflax.progress import progress_bar
from faceflax.restoration import aligned
from faceflax.restoration.inputs import plan
from faceflax.training import checkpoints, parallel, runtime


def run(arguments: argparse.Namespace) -> int:
    """Restores the files that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be restored at all: no model, an output folder that cannot be written.
    """
    _check(arguments)
    out = Path(arguments.out)
    _make_folder(out)
    runtime.start()
    logging.set_verbosity(logging.ERROR)  # orbax tells of its every step otherwise
    trained = checkpoints.load_for_inference(Path(arguments.model))
    inputs = [Path(name) for name in arguments.inputs]
    jobs, failures = plan(inputs, out, Path(arguments.mask) if arguments.mask else None)
    for failure in failures:
        _report(failure)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    written = _restore(jobs, trained, arguments.batch_size)
    total = len(jobs) + len(failures)
    print(f"restored {written} of {total} images into {_printable(str(out))}")
    return 0 if written == total else 1


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.aligned:
        raise UserError("whole photographs are not supported yet; pass --aligned if each input is a cropped face")
    if not arguments.model:
        raise UserError("no trained model comes with faceflax yet; pass --model the workdir of one that you trained")
    if not arguments.out or "" in arguments.inputs:
        raise UserError("an empty name was given as --out or as an input; name a file or folder")
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is not a number of images; make it 1 or more")


def _make_folder(out: Path) -> None:
    """Fails before the model is loaded when nothing can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(f"cannot write into the folder {out}; choose another --out")


def _restore(jobs: list, trained: checkpoints.Trained, batch_size: int) -> int:
    devices = parallel.create({"data": -1, "fsdp": 1})
    batch_size = min(batch_size, max(1, len(jobs)))
    apply = models.create(trained.config.model).apply
    with progress_bar() as progress:
        bar = progress.add_task("restoring", total=len(jobs))
        return aligned.restore_files(
            jobs,
            aligned.create_restorer(apply, trained.params, devices, batch_size),
            size=trained.config.data.image_size,
            batch_size=batch_size,
            on_failure=_report,
            advance=lambda: progress.advance(bar),
        )


def _report(failure: str) -> None:
    print(f"error: {_printable(failure)}", file=sys.stderr)


def _printable(text: str) -> str:
    """File names may hold bytes that are no UTF-8, which a stream would refuse."""
    return os.fsencode(text).decode(errors="replace")
