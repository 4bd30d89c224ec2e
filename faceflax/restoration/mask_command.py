"""What `faceflax mask` does."""

import argparse
import os
import zlib
from pathlib import Path

import cv2
import jax
import numpy as np

from faceflax.degradations.facemask import CLOTHS, TEXTURES
from faceflax.errors import UserError
from faceflax.preprocessing import console, images, landmarks
from faceflax.preprocessing.inputs import Job, plan
from faceflax.progress import progress_bar
from faceflax.restoration import masking
from faceflax.training import runtime

FACES, MASKS = "faces", "masks"
"""Folders below `--out`: what `faceflax restore` takes as its input and its `--mask`."""


def run(arguments: argparse.Namespace) -> int:
    """Puts masks on the faces of the files that the arguments name; returns 0, or 1 when some could not be done.

    Raises `UserError` when nothing can be done at all: a wrong argument, an output folder that cannot be written.
    """
    _check(arguments)
    out = Path(arguments.out)
    points = landmarks.read(Path(arguments.landmarks)) if arguments.landmarks else None
    with console.folder(out):
        return _run(arguments, out, points)


def _run(arguments: argparse.Namespace, out: Path, points: dict[str, np.ndarray] | None) -> int:
    runtime.start()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own words on damaged files follow
    jobs, failures = _plan([Path(name) for name in arguments.inputs], out)
    for failure in failures:
        console.report(failure)
    written = 0
    with progress_bar() as progress:
        for job in progress.track(jobs, description="masking"):
            with console.reported(console.report):
                _mask(job, out, points, arguments)
                written += 1
    total = len(jobs) + len(failures)
    print(f"masked {written} of {console.counted(total, 'image')} into {console.printable(str(out))}")
    return 0 if written == total else 1


def _check(arguments: argparse.Namespace) -> None:
    if arguments.aligned == bool(arguments.landmarks):
        raise UserError(
            "where is the face? pass --aligned if each input is an aligned crop of one, or else --landmarks FILE with "
            "five points for each"
        )
    choices = {"wear": masking.WEAR, "cloth": (*CLOTHS, "random"), "texture": (*TEXTURES, "random")}
    for name, words in choices.items():
        if getattr(arguments, name) not in words:
            raise UserError(f'--{name} "{getattr(arguments, name)}" does not exist; choose one of {", ".join(words)}')


def _plan(inputs: list[Path], out: Path) -> tuple[list[Job], list[str]]:
    """The images to mask, whose results go to `_results`, and one sentence for each input that cannot be."""
    jobs, failures = plan(inputs, out, None)
    read = {os.path.realpath(job.source) for job in jobs}
    allowed = []
    for job in jobs:
        if read & set(map(os.path.realpath, _results(job, out))):
            failures.append(f"{job.source}: its result would overwrite an input below {out}; choose another --out")
        else:
            allowed.append(job)
    return allowed, failures


def _results(job: Job, out: Path) -> tuple[Path, Path]:
    """Where the masked image and its mask are written."""
    name = job.output.relative_to(out)
    return out / FACES / name, out / MASKS / name


def _mask(job: Job, out: Path, points: dict[str, np.ndarray] | None, arguments: argparse.Namespace) -> None:
    """Writes the masked image and its mask; raises `UserError` when it cannot be done."""
    photograph = images.read(job.source)
    name = (job.output.relative_to(out).parent / job.source.name).as_posix()
    placement = _placement(job.source, name, photograph, points)
    number = zlib.crc32(os.fsencode(name))  # what a file looks like does not depend on the others
    key = jax.random.fold_in(jax.random.key(arguments.seed % 2**32, impl="threefry2x32"), number)
    masked, covered = masking.dress(photograph, placement, key, _look(arguments, number))
    if not covered.any():
        raise UserError(f"{job.source}: nothing of the face lies in the image; check its landmarks")
    face, mask = _results(job, out)
    images.write(mask, images.Photograph(covered.astype(np.uint8) * 255, None))
    images.write(face, masked)


def _placement(source: Path, name: str, photograph: images.Photograph, points: dict | None) -> np.ndarray:
    if points is None:
        return landmarks.whole_image(*photograph.pixels.shape[:2])
    if name not in points:
        raise UserError(f"{source}: the landmarks file has no row for {name}; add one")
    try:
        return landmarks.fit(points[name])
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error


def _look(arguments: argparse.Namespace, number: int) -> masking.Look:
    cloth = None if arguments.cloth == "random" else list(CLOTHS).index(arguments.cloth)
    texture = arguments.texture
    if texture == "random":
        texture = str(np.random.default_rng([arguments.seed % 2**32, number]).choice(list(TEXTURES)))
    return masking.Look(arguments.wear, cloth, texture)
