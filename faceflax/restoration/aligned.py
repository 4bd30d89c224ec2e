"""Restores face crops of any size and number: decoded, restored in batches, encoded, a few at a time in memory."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import colour, images
from faceflax.preprocessing.console import reported, told_of
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import holes, restorers, results, seam
from faceflax.restoration.ahead import behind, submit_ahead, threads
from faceflax.restoration.restorers import RestoreBatch

# images float32 [n, S, S, 3] -> what covers the faces, bool [n, S, S]
FindBatch = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image at the model's size, and what is needed to bring it back.

    Attributes:
      image: float32 [S, S, 3] in [0, 1], sRGB; the whole image, its longer side S, mirrored at the borders to a square.
      own: as `image`, with the values that the file has for these colours.
      mask: float32 [S, S, 1], 1 where pixels are missing.
      window: where the image lies in that square.
      shape: (H, W) of the file.
      dtype: of the file's pixels, uint8 or uint16.
      is_grey: whether the file has one channel.
      alpha: [H, W] or None.
      profile, exif: of the file, see `Photograph`.
      original: the file's pixels where a mask was given, else None.
      missing: bool [H, W] of the mask, else None.
    """

    image: np.ndarray
    own: np.ndarray
    mask: np.ndarray
    window: tuple[slice, slice]
    shape: tuple[int, int]
    dtype: np.dtype
    is_grey: bool
    alpha: np.ndarray | None
    profile: bytes
    exif: bytes
    original: np.ndarray | None
    missing: np.ndarray | None


def prepare(photograph: Photograph, missing: np.ndarray | None, size: int) -> Prepared:
    """Brings a photograph to `size` x `size`, without changing the shape of a face.

    `missing`: bool [H, W] or None. At the model's size a pixel is missing where any part of it is; the hole is filled
    with mid-grey, as in training.
    """
    pixels = photograph.pixels
    shape = pixels.shape[:2]
    scale = size / max(shape)
    inner = tuple(max(1, round(side * scale)) for side in shape)
    if missing is None:
        image = _resize(pixels, inner, cv2.INTER_CUBIC)
        mask = np.zeros(inner, np.float32)
    else:  # bilinear, so that what lies in the hole does not reach beyond the resized mask
        image = _resize(pixels, inner, cv2.INTER_LINEAR)
        mask = (_resize(missing.astype(np.float32), inner, cv2.INTER_LINEAR) > 0).astype(np.float32)
    image = image.astype(np.float32) / np.iinfo(pixels.dtype).max
    own = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    image = np.where(mask[..., None] > 0, np.float32(holes.COLOUR), colour.to_srgb(own, photograph.profile))
    top, left = ((size - side) // 2 for side in inner)
    return Prepared(
        image=_pad(image, size, top, left),
        own=_pad(own, size, top, left),
        mask=_pad(mask, size, top, left)[..., None],
        window=(slice(top, top + inner[0]), slice(left, left + inner[1])),
        shape=shape,
        dtype=pixels.dtype,
        is_grey=pixels.ndim == 2,
        alpha=photograph.alpha,
        profile=photograph.profile,
        exif=photograph.exif,
        original=None if missing is None else pixels,
        missing=missing,
    )


def finish(crop: Prepared, restored: np.ndarray) -> Photograph:
    """Brings the model's `restored` [S, S, 3] back to the file's size, colour profile, depth and channels.

    Where a mask was given, known pixels are the file's own, to the bit, and the others meet them (see `seam`). Raises
    `ValueError` when `restored` is not finite.
    """
    restorers.check_finite(restored)
    pixels = np.ascontiguousarray(restored[crop.window], np.float32)
    if crop.missing is None:
        pixels = colour.put_back(pixels, crop.image[crop.window], crop.own[crop.window], crop.profile)
    else:
        pixels = colour.from_srgb(pixels, crop.profile)
    if crop.is_grey:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    most = np.iinfo(crop.dtype).max
    pixels = np.round(np.clip(pixels, 0, 1) * most).astype(crop.dtype)
    pixels = _resize(pixels, crop.shape, cv2.INTER_CUBIC)
    if crop.missing is not None:
        fill, around = (np.atleast_3d(values).astype(np.float32) / most for values in (pixels, crop.original))
        filled = np.round(most * np.clip(seam.meet(fill, around, crop.missing, ~crop.missing), 0, 1))
        pixels = np.where(crop.missing[..., None], filled.astype(crop.dtype), np.atleast_3d(crop.original))
        pixels = pixels.reshape(crop.original.shape)
    return Photograph(pixels, crop.alpha, crop.profile, crop.exif)


def _resize(pixels: np.ndarray, shape: tuple[int, int], enlarge: int) -> np.ndarray:
    """Averages areas to shrink, so that it is antialiased; `enlarge` is OpenCV's interpolation for the other way."""
    if pixels.shape[:2] == shape:
        return pixels
    interpolation = cv2.INTER_AREA if shape[0] < pixels.shape[0] or shape[1] < pixels.shape[1] else enlarge
    return cv2.resize(pixels, shape[::-1], interpolation=interpolation)


def _pad(image: np.ndarray, size: int, top: int, left: int) -> np.ndarray:
    bottom, right = size - top - image.shape[0], size - left - image.shape[1]
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REFLECT_101)


def cover(crop: Prepared, found: np.ndarray) -> Prepared:
    """Returns the crop with the pixels missing that `found`, bool [S, S], says; it was made with a mask, an empty one.

    A pixel of the file is missing where the mask, enlarged smoothly, is nearer to 1 than to 0.
    """
    missing = _resize(found[crop.window].astype(np.float32), crop.shape, cv2.INTER_LINEAR) > 0.5
    return prepare(Photograph(crop.original, crop.alpha, crop.profile, crop.exif), missing, len(found))


def restore_files(
    jobs: Sequence[Job],
    restore: RestoreBatch,
    *,
    size: int,
    batch_size: int,
    on_failure: Callable[[str], None],
    advance: Callable[[], None],
    find: FindBatch | None = None,
    on_whole: Callable[[], None] = lambda: None,
) -> int:
    """Restores every job's file and writes its result; returns how many were written.

    Files are read and written in threads while the model works. At most five batches are in memory at once.

    Args:
      jobs: what to restore.
      restore: the model, for up to `batch_size` images of `size` x `size`.
      size: the model's side in pixels.
      batch_size: images restored at once.
      on_failure: called with one sentence for each file that could not be restored; the rest goes on.
      advance: called once for every job, when it is done with.
      find: finds the missing pixels, where no job has a mask; all other pixels are kept.
      on_whole: called for each image of which nothing is missing by its mask or by `find`, which is written as it was.

    Raises:
      UserError: the disk is full or read-only, so that going on is no use.
    """
    written, taken = 0, results.files_of(jobs)

    def settle(future: Future) -> None:
        nonlocal written
        with reported(on_failure):
            is_whole = future.result()
            written += 1
            if is_whole:
                on_whole()
        advance()

    def fail(failure: str) -> None:
        on_failure(failure)
        advance()

    try:
        with threads(os.cpu_count()) as pool, behind(pool, settle, batch_size) as writing:
            crops = _prepared(jobs, size, find is not None, pool, 2 * batch_size, fail)
            while batch := list(itertools.islice(crops, batch_size)):
                batch = batch if find is None else _search(batch, find)
                images, masks = (np.stack([getattr(crop, name) for _, crop in batch]) for name in ("image", "mask"))
                restored = restore(images, masks)
                for pair, pixels in zip(batch, restored, strict=True):
                    writing.submit(0, _write, *pair, pixels, taken)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{written} of {len(jobs)} images are done") from error
    return written


def _prepared(
    jobs: Sequence[Job],
    size: int,
    is_searched: bool,
    pool: ThreadPoolExecutor,
    most_ahead: int,
    on_failure: Callable[[str], None],
) -> Iterator[tuple[Job, Prepared]]:
    """The images at the model's size, in order, without those that cannot be read."""
    read = functools.partial(_read, size=size, is_searched=is_searched)
    for job, future in submit_ahead(pool, read, jobs, most_ahead):
        with reported(on_failure):
            yield job, future.result()


def _search(batch: list[tuple[Job, Prepared]], find: FindBatch) -> list[tuple[Job, Prepared]]:
    found = find(np.stack([crop.image for _, crop in batch]))
    return [(job, cover(crop, mask)) for (job, crop), mask in zip(batch, found, strict=True)]


def _read(job: Job, size: int, is_searched: bool) -> Prepared:
    with told_of(str(job.source)):
        photograph = images.read(job.source)
        shape = photograph.pixels.shape[:2]
        if is_searched:
            return prepare(photograph, np.zeros(shape, bool), size)
        missing = None if job.mask is None else images.read_mask(job.mask, shape)
        if missing is not None:
            holes.check_seen(job.source, photograph.alpha, missing)
        if missing is not None and 1 - missing.mean() < holes.LEAST_KNOWN:
            raise UserError(
                f"{job.source}: hardly anything of it is known beside its mask; leave more of the face bare"
            )
        return prepare(photograph, missing, size)


def _write(job: Job, crop: Prepared, restored: np.ndarray, taken: frozenset[str]) -> bool:
    """Returns whether nothing of the image is missing, though something might be."""
    with told_of(str(job.source)):
        try:
            photograph = finish(crop, restored)
        except ValueError as error:
            raise UserError(f"{job.source}: {error}") from error
        results.write(job.output, photograph, taken)
    return crop.missing is not None and not crop.missing.any()
