"""Restores the faces of a video: followed through its frames, restored in batches across them, put back steadily."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.files import write_json
from faceflax.preprocessing import alignment
from faceflax.preprocessing.images import Photograph
from faceflax.restoration import film, paste, report, results, subjects
from faceflax.restoration.ahead import behind, submit_ahead, threads
from faceflax.restoration.batches import Batches, weight
from faceflax.restoration.film import Film
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Crop, Locate, Located
from faceflax.restoration.track import Seen, Track, Tracker

_MOST_PIXELS = 32e6  # of frames being searched, waiting for a batch, and being written, each
_LEAST_NEW = 0.4  # share of the new frame in what is shown of a face at rest
_MOVED = 0.06  # difference between frames, in parts of white, from which nothing of the old one is kept
_SIGMA = 0.02  # of the crop's side, over which that difference is averaged
_SPARED_SHARE = 0.25  # of a new frame in what is taken back of the network's change


@dataclasses.dataclass(eq=False)
class _Frame:
    """A frame on its way, with the tracks that its crops belong to."""

    pixels: np.ndarray
    tracks: list[Track]
    crops: list[Crop]
    restored: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def num_pixels(self) -> int:
        return self.pixels.shape[0] * self.pixels.shape[1]


def restore_file(
    source: Path,
    output: Path,
    restorer: Restorer,
    locate: Locate,
    *,
    batch_size: int,
    options: Options,
    advance: Callable[[], None],
) -> tuple[int, int]:
    """Restores one video and writes it with a report; returns the numbers of its frames and of the faces followed.

    Frames, their rate, size and sound are kept. `advance` is called once for each frame. Memory does not grow with the
    video but by a few numbers for each face, and 8 bytes for each frame to know when it shows. Raises `UserError` when
    it is no video, no face is found in it, its result would be too large, or cannot be written.
    """
    source_film = film.probe(source)
    options.check_size(source, source_film.shape)
    tracker, steady = Tracker(float(source_film.rate)), _Steady()
    with film.writing(output, tuple(side * options.times for side in source_film.shape), source_film) as writer:

        def finish(frame: _Frame) -> None:
            try:
                pixels = _put_back(frame, steady, options.times)
            except ValueError as error:
                raise UserError(f"{source}: {error}") from error
            writer.write(pixels)

        with threads(os.cpu_count()) as pool:
            frames = _searched(source_film, tracker, locate, restorer.size, options, pool, 4 * batch_size)
            batches = Batches(restorer.restore, batch_size, _MOST_PIXELS).run(frames)
            count = _paste_in_order(batches, finish, 4 * batch_size, options.times, advance)
        seen = tracker.seen()
        if not seen:
            raise UserError(f"{source}: no face found in any of its {count} frames; give one with larger faces")
    faces = [_describe(face, steady.taken_back(face.number)) for face in seen]
    told = _report(source_film, output, count, faces, options, restorer.description)
    write_json(results.report_path(output), told)
    return count, len(seen)


def _searched(
    source_film: Film,
    tracker: Tracker,
    locate: Locate,
    size: int,
    options: Options,
    pool: ThreadPoolExecutor,
    most_ahead: int,
) -> Iterator[_Frame]:
    """The frames in order, with the crops of the faces that are followed through them."""

    def search(pixels: np.ndarray) -> list[Located]:
        found = locate(pixels)
        return subjects.nearest_to_middle(found, pixels.shape) if options.only_centre else found

    ahead = max(2, int(_MOST_PIXELS / np.prod(source_film.shape)))
    for pixels, future in submit_ahead(pool, search, source_film.frames(), min(ahead, most_ahead)):
        yield _cut(pixels, tracker.update(future.result()), size)


def _paste_in_order(
    frames: Iterator[_Frame],
    finish: Callable[[_Frame], None],
    most_behind: int,
    times: int,
    advance: Callable[[], None],
) -> int:
    """Finishes the frames one after the other in a thread of their own; returns how many."""
    count = 0

    def settle(future: Future) -> None:
        nonlocal count
        future.result()
        count += 1
        advance()

    with threads(1) as in_order, behind(in_order, settle, most_behind, _MOST_PIXELS) as pasting:
        for frame in frames:
            pasting.submit(weight(frame, times), finish, frame)
    return count


def _cut(pixels: np.ndarray, tracks: list[Track], size: int) -> _Frame:
    crops, shown = [], []
    for track in tracks:
        try:
            place = alignment.align(track.points, size)
        except ValueError:
            continue
        mask = track.blended_mask(paste.soft_mask(subjects.hull(track.mesh, place), size))
        crop = subjects.cut(Photograph(pixels, None), place, mask)
        crops.append(dataclasses.replace(crop, gain=track.steady_gain(crop.gain)))
        shown.append(track)
    return _Frame(pixels, shown, crops)


class _Steady:
    """What each track showed last, from which the next frame's face does not depart where it rests."""

    def __init__(self):
        self._last: dict[int, np.ndarray] = {}
        self._spared: dict[int, float] = {}
        self._shares: dict[int, tuple[float, int]] = {}  # their sum and number

    def __call__(self, track: Track, restored: np.ndarray) -> np.ndarray:
        """Returns `restored` [S, S, 3], averaged with what was shown before it where nothing moved."""
        last = self._last.get(track.number)
        if last is not None:
            moved = np.abs(cv2.GaussianBlur(restored - last, (0, 0), _SIGMA * len(restored))).max(axis=2, keepdims=True)
            share = np.clip(moved / _MOVED, _LEAST_NEW, 1)
            restored = last + share * (restored - last)
        self._last[track.number] = restored
        return restored

    def spare(self, track: Track, spared: float) -> float:
        """Returns what share is taken back, averaged over the last frames, so that it does not flicker."""
        last = self._spared.get(track.number)
        spared = spared if last is None else last + _SPARED_SHARE * (spared - last)
        self._spared[track.number] = spared
        total, frames = self._shares.get(track.number, (0.0, 0))
        self._shares[track.number] = (total + spared, frames + 1)
        return spared

    def taken_back(self, number: int) -> float:
        """Returns the mean of that share over a track's frames; 1 for one that never showed."""
        total, frames = self._shares.get(number, (1.0, 1))
        return total / frames

    def forget_all_but(self, tracks: list[Track]) -> None:
        """Lets go of what tracks showed that have ended."""
        numbers = {track.number for track in tracks}
        for kept in (self._last, self._spared):
            for number in kept.keys() - numbers:
                del kept[number]


def _put_back(frame: _Frame, steady: _Steady, times: int) -> np.ndarray:
    pixels = paste.enlarge(frame.pixels, times)
    pixels = pixels if pixels is not frame.pixels else pixels.copy()
    for track, crop, restored in zip(frame.tracks, frame.crops, frame.restored, strict=True):
        shown, spare = steady(track, restored), functools.partial(steady.spare, track)
        subjects.put_back(pixels, crop, shown, times, spare)
    steady.forget_all_but(frame.tracks)
    return pixels


def _describe(face: Seen, taken_back: float) -> dict:
    known = {"number": face.number, "first_frame": face.first, "last_frame": face.last, "frames": face.found}
    return known | {"taken_back": round(taken_back, 2)}


def _report(source_film: Film, output: Path, count: int, faces: list[dict], options: Options, model: dict) -> dict:
    height, width = source_film.shape
    known = {"source": str(source_film.path), "result": str(output), "width": width, "height": height}
    known |= {"times": options.times, "frames": count, "rate": str(source_film.rate), "faces": faces}
    return known | report.origin(model)
