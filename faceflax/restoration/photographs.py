"""Restores the faces of whole photographs: found, straightened, restored in batches across photographs, pasted back."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from faceflax.errors import UserError
from faceflax.files import write_json
from faceflax.preprocessing import images, sizes
from faceflax.preprocessing.console import reported, told_of
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import filling, holes, paste, report, results, subjects
from faceflax.restoration.ahead import behind, submit_ahead, threads
from faceflax.restoration.batches import Batches, weight
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Crop, Locate, Subject

_MOST_PIXELS = 64e6  # of photographs being read, waiting for a batch, and being written, each; or one photograph


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user wants besides restored faces.

    Attributes:
      only_centre: only the face nearest to the middle of each photograph is restored.
      times: how much the photograph is enlarged.
      is_compared: whether the photograph before and after is written side by side too.
    """

    only_centre: bool = False
    times: int = 1
    is_compared: bool = False

    def check_size(self, source: Path, shape: tuple[int, int]) -> None:
        """Raises `UserError` where the result of a picture of `shape` (H, W) has more pixels than an input may have."""
        height, width = (side * self.times for side in shape)
        if width * height > images.MAX_PIXELS:
            raise UserError(
                f"{source}: enlarged it has {width}x{height} pixels, more than the {images.MAX_PIXELS // 10**6} "
                "million that are allowed; choose a smaller --upscale"
            )


@dataclasses.dataclass(eq=False)
class _Work:
    """A photograph on its way, and what the network has made of its faces so far.

    Where a mask was given, `missing` are the holes that are filled, bool [H, W], `filled` are the pixels with something
    smooth in them, and `failure` says in one sentence which holes are not filled, if any.
    """

    job: Job
    photograph: Photograph
    missing: np.ndarray | None
    subjects: list[Subject]
    filled: np.ndarray
    failure: str = ""
    restored: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether a mask without a hole was given."""
        return self.missing is not None and not self.missing.any()

    @property
    def crops(self) -> list[Crop]:
        return [subject.crop for subject in self.subjects if subject.crop is not None]

    @property
    def num_pixels(self) -> int:
        pictures = 1 if self.missing is None else 2
        return pictures * self.photograph.pixels.shape[0] * self.photograph.pixels.shape[1]


def restore_files(
    jobs: Sequence[Job],
    restorer: Restorer,
    locate: Locate,
    *,
    batch_size: int,
    options: Options,
    on_failure: Callable[[str], None],
    advance: Callable[[], None],
    on_whole: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Restores the faces in every job's photograph and writes it with a report; returns how many photographs and faces.

    Photographs are read, searched, put together and written in threads while the network works. Its batches are full
    across photographs, as long as 64 million pixels wait for one at most; as many are being read and written.

    Args:
      jobs: what to restore.
      restorer: the network, loaded for batches of `batch_size`.
      locate: finds faces; called in several threads.
      batch_size: faces restored at once.
      options: see there.
      on_failure: called with one sentence for each photograph that could not be restored, or has holes that could not
        be filled; the rest goes on.
      advance: called once for every job, when it is done with.
      on_whole: called for each photograph whose mask has no hole, which is written as it was.

    Raises:
      UserError: the disk is full or read-only, so that going on is no use.
    """
    counts = [0, 0]
    taken = results.files_of(jobs)

    def settle(future: Future) -> None:
        with reported(on_failure):
            faces, failure, is_whole = future.result()
            counts[0] += 1
            counts[1] += faces
            if failure:
                on_failure(failure)
            if is_whole:
                on_whole()
        advance()

    def fail(failure: str) -> None:
        on_failure(failure)
        advance()

    try:
        # Writers of their own, as results would wait behind all that is read ahead.
        with threads(os.cpu_count()) as pool, threads(os.cpu_count()) as writers:
            works = _works(jobs, locate, restorer.size, options, pool, 2 * batch_size, fail)
            with behind(writers, settle, 2 * batch_size, _MOST_PIXELS) as writing:
                for work in Batches(restorer.restore, batch_size, _MOST_PIXELS).run(works):
                    writing.submit(weight(work, options.times), _finish, work, restorer.description, options, taken)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{counts[0]} of {len(jobs)} photographs are done") from error
    return counts[0], counts[1]


def _works(
    jobs: Sequence[Job],
    locate: Locate,
    size: int,
    options: Options,
    pool: ThreadPoolExecutor,
    most_ahead: int,
    on_failure: Callable[[str], None],
) -> Iterator[_Work]:
    """The photographs with their faces cut out, in order, without those that cannot be restored."""

    def read(job: Job) -> _Work:
        with told_of(str(job.source)):
            return _read(job, locate, size, options)

    for _, future in submit_ahead(pool, read, jobs, most_ahead, _claimed_pixels, _MOST_PIXELS):
        with reported(on_failure):
            yield future.result()


def _claimed_pixels(job: Job) -> int:
    """What a file's header says of its size, twice with a mask; the most that is allowed where it does not say."""
    try:
        width, height = sizes.claimed(job.source)
    except (OSError, ValueError):
        return images.MAX_PIXELS
    return width * height * (1 if job.mask is None else 2)


def _read(job: Job, locate: Locate, size: int, options: Options) -> _Work:
    photograph = images.read(job.source)
    options.check_size(job.source, photograph.pixels.shape[:2])
    missing = None if job.mask is None else images.read_mask(job.mask, photograph.pixels.shape[:2])
    if missing is not None and not missing.any():  # so all of it is known, and no face is looked for
        return _Work(job, photograph, missing, [], photograph.pixels)
    filled = None
    if missing is not None:
        holes.check_seen(job.source, photograph.alpha, missing)
        filled = dataclasses.replace(photograph, pixels=holes.fill(photograph.pixels, missing))
    found = subjects.find(photograph, locate, size, missing, filled=filled, only_centre=options.only_centre)
    if not found:
        raise UserError(f"{job.source}: no face found{_advice(photograph, missing)}")
    if filled is not None:
        return _with_holes(job, photograph, missing, filled, found)
    if all(subject.crop is None for subject in found):
        reason = f"{_reason(found)}; cut the face out and pass --aligned, or leave it out"
        raise UserError(f"{job.source}: nothing to restore: {reason}")
    return _Work(job, photograph, None, found, photograph.pixels)


def _advice(photograph: Photograph, missing: np.ndarray | None) -> str:
    """What to do where no face was found."""
    if missing is None and photograph.alpha is not None and not photograph.alpha.all():
        return ", and what is transparent in it is no hole; save it without transparency and draw a --mask of its holes"
    return "; pass --aligned if it is a face that fills the image, or give one of 20 pixels at least"


def _with_holes(
    job: Job, photograph: Photograph, missing: np.ndarray, filled: Photograph, found: list[Subject]
) -> _Work:
    """A photograph whose holes are filled but for those in faces that are not restored."""
    left = filling.holes_left(found, missing)
    if not left.any():
        return _Work(job, photograph, missing, found, filled.pixels)
    if all(subject.crop is None for subject in found):
        raise UserError(f"{job.source}: nothing to restore: {_reason(found)}; draw its mask anew, or leave it out")
    filled.pixels[left] = photograph.pixels[left]
    failure = f"{job.source}: a hole in a face stays, as {_reason(found)}; draw its mask anew, or none there"
    return _Work(job, photograph, missing & ~left, found, filled.pixels, failure)


def _reason(found: list[Subject]) -> str:
    """Why a face is not restored: rather what is wrong with one than that another was asked for."""
    reasons = [subject.skipped for subject in found if subject.skipped not in ("", subjects.NO_HOLE)]
    return min(reasons, key=lambda reason: reason == subjects.NOT_CENTRE)


def _finish(work: _Work, model: dict, options: Options, taken: frozenset[str]) -> tuple[int, str, bool]:
    """Writes the photograph with its faces put back; returns their number, `_Work.failure` and `_Work.is_whole`.

    `taken` is as in `results.forget`.
    """
    with told_of(str(work.job.source)):
        return _put_together(work, model, options, taken), work.failure, work.is_whole


def _put_together(work: _Work, model: dict, options: Options, taken: frozenset[str]) -> int:
    try:
        after, taken_back, beside = _pasted(work, options.times)
    except ValueError as error:
        raise UserError(f"{work.job.source}: {error}") from error
    alpha = work.photograph.alpha
    alpha = None if alpha is None else paste.enlarge(alpha, options.times)
    output = work.job.output
    pair = results.comparison_path(output) if options.is_compared else None
    results.write(output, dataclasses.replace(work.photograph, pixels=after, alpha=alpha), taken)
    shape = work.photograph.pixels.shape[:2]
    faces = report.faces(work.subjects, taken_back)
    told = report.photograph(work.job.source, output, shape, faces, beside, model, pair, options.times)
    write_json(results.report_path(output), told)  # before the comparison, which a later run finds by it
    if pair is not None:
        doubled = None if alpha is None else np.hstack([alpha, alpha])
        before = paste.enlarge(work.photograph.pixels, options.times)
        images.write(pair, dataclasses.replace(work.photograph, pixels=np.hstack([before, after]), alpha=doubled))
    return len(work.crops)


def _pasted(work: _Work, times: int) -> tuple[np.ndarray, list[float | None], int | None]:
    """The photograph, enlarged, with its faces put back, and what was taken back of each; the third is for the report.

    Where a mask was given nothing is taken back; the third is the number of pixels in its holes that no face reaches,
    which stay as they were filled. Raises `ValueError` where what the network made is not finite.
    """
    # What is filled is enlarged, so that a hole's paint does not reach over its rim.
    after, missing = paste.enlarge(work.filled, times).copy(), work.missing
    faces = list(zip(work.crops, work.restored, strict=True))
    if missing is None:
        return after, [subjects.put_back(after, *face, times) for face in faces], None
    missing = paste.enlarge(missing.view(np.uint8), times) > 0
    beside = filling.fill(after, work.crops, work.restored, missing, times)
    return after, [None] * len(faces), int(beside.sum())
