"""What `faceflax restore` does."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from absl import logging

from faceflax import models
from faceflax.errors import UserError
from faceflax.preprocessing import console
from faceflax.preprocessing.inputs import Job, plan
from faceflax.progress import progress_bar
from faceflax.restoration import aligned, networks
from faceflax.training import checkpoints, parallel, runtime
from faceflax.training.checkpoints import Trained

AUTO = "auto"  # for --mask: the segmenter finds it


def run(arguments: argparse.Namespace) -> int:
    """Restores the files that the arguments name; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be restored at all: no model, an output folder that cannot be written.
    """
    _check(arguments)
    out = Path(arguments.out)
    console.make_folder(out)
    runtime.start()
    logging.set_verbosity(logging.ERROR)  # orbax tells of its every step otherwise
    restorer = networks.load_restorer(arguments.model or networks.DEFAULT, arguments.fidelity)
    finder = checkpoints.load_segmenter(Path(arguments.segmenter)) if arguments.segmenter else None
    inputs = [Path(name) for name in arguments.inputs]
    masks = Path(arguments.mask) if arguments.mask and not finder else None
    jobs, failures = plan(inputs, out, masks)
    for failure in failures:
        console.report(failure)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    written = _restore(jobs, restorer, finder, arguments.batch_size)
    total = len(jobs) + len(failures)
    print(f"restored {written} of {total} images into {console.printable(str(out))}")
    return 0 if written == total else 1


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.aligned:
        raise UserError("whole photographs are not supported yet; pass --aligned if each input is a cropped face")
    if not arguments.out or "" in arguments.inputs:
        raise UserError("an empty name was given as --out or as an input; name a file or folder")
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size} is not a number of images; make it 1 or more")
    if (arguments.mask == AUTO) != bool(arguments.segmenter):
        raise UserError(
            "--mask auto and --segmenter WORKDIR belong together: the segmenter finds what covers the faces "
            "(a mask file of that name is ./auto)"
        )


def _restore(jobs: list[Job], restorer: Trained, finder: Trained | None, batch_size: int) -> int:
    """Restores the files, with a `finder` where it finds something before the face; returns how many were written."""
    devices = parallel.create({"data": -1, "fsdp": 1})
    batch_size = min(batch_size, max(1, len(jobs)))
    bare: list[bool] = []  # for each image that was searched, whether nothing was found
    with progress_bar() as progress:
        bar = progress.add_task("restoring", total=len(jobs))
        written = aligned.restore_files(
            jobs,
            networks.create_restorer(models.create(restorer.config.model).apply, restorer.params, devices, batch_size),
            size=restorer.config.data.image_size,
            batch_size=batch_size,
            on_failure=console.report,
            advance=lambda: progress.advance(bar),
            find=_create_search(finder, devices, batch_size, bare) if finder else None,
        )
    if any(bare):
        print(f"found nothing before the face in {sum(bare)} images, which came out as they went in")
    return written


def _create_search(finder: Trained, devices: parallel.Parallel, batch_size: int, bare: list[bool]) -> aligned.FindBatch:
    segment = models.create_segmenter(finder.config.model).apply
    find = networks.create_finder(segment, finder.params, finder.config.data.image_size, devices, batch_size)

    def search(images: np.ndarray) -> np.ndarray:
        found = find(images)
        bare.extend(~found.any(axis=(1, 2)))
        return found

    return search
