"""Restores the faces of a video: followed through its frames, restored in batches across them, put back steadily."""

import dataclasses
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
from faceflax.restoration import film, paste, report, subjects
from faceflax.restoration.ahead import Behind, submit_ahead
from faceflax.restoration.batches import Batches
from faceflax.restoration.film import Film
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Crop, Locate, Located
from faceflax.restoration.track import Track, Tracker

_MOST_PIXELS = 32e6  # of frames being searched, waiting for a batch, and being written, each
_LEAST_NEW = 0.4  # share of the new frame in what is shown of a face at rest
_MOVED = 0.06  # difference between frames, in parts of white, from which nothing of the old one is kept
_SIGMA = 0.02  # of the crop's side, over which that difference is averaged


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

    Frames, their rate, size and sound are kept. `advance` is called once for each frame. Raises `UserError` when it is
    no video, no face is found in it, or the result cannot be written.
    """
    source_film = film.probe(source)
    tracker = Tracker(float(source_film.rate))
    steady = _Steady()
    shape = tuple(side * options.times for side in source_film.shape)
    count = 0

    def search(pixels: np.ndarray) -> list[Located]:
        found = locate(pixels)
        return subjects.nearest_to_middle(found, pixels.shape) if options.only_centre else found

    def frames() -> Iterator[_Frame]:
        ahead = max(2, int(_MOST_PIXELS / np.prod(source_film.shape)))
        for pixels, future in submit_ahead(pool, search, source_film.frames(), min(ahead, 4 * batch_size)):
            yield _cut(pixels, tracker.update(future.result()), restorer.size)

    def settle(future: Future) -> None:
        nonlocal count
        future.result()
        count += 1
        advance()

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        ThreadPoolExecutor(1) as in_order,
        film.writing(output, shape, source_film) as writer,
    ):
        pasting = Behind(in_order, settle, 4 * batch_size, _MOST_PIXELS)

        def finish(frame: _Frame) -> None:
            writer.write(_put_back(frame, steady, options.times))

        for frame in Batches(restorer.restore, batch_size, _MOST_PIXELS).run(frames()):
            pasting.submit(frame.num_pixels * options.times**2, finish, frame)
        pasting.close()
        tracks = tracker.ended + tracker.tracks
        if not tracks:
            raise UserError(f"{source}: no face found in any of its {count} frames")
    write_json(output.with_suffix(".json"), _report(source_film, output, count, tracks, restorer.description))
    return count, len(tracks)


def _cut(pixels: np.ndarray, tracks: list[Track], size: int) -> _Frame:
    crops, shown = [], []
    for track in tracks:
        try:
            place = alignment.align(track.points, size)
        except ValueError:
            continue
        mask = track.blended_mask(paste.soft_mask(subjects.hull(track.mesh, place), size))
        crops.append(subjects.cut(Photograph(pixels, None), place, mask))
        shown.append(track)
    return _Frame(pixels, shown, crops)


class _Steady:
    """What each track showed last, from which the next frame's face does not depart where it rests."""

    def __init__(self):
        self._last: dict[int, np.ndarray] = {}

    def __call__(self, track: Track, restored: np.ndarray) -> np.ndarray:
        """Returns `restored` [S, S, 3], averaged with what was shown before it where nothing moved."""
        last = self._last.get(track.number)
        if last is not None:
            moved = np.abs(cv2.GaussianBlur(restored - last, (0, 0), _SIGMA * len(restored))).max(axis=2, keepdims=True)
            share = np.clip(moved / _MOVED, _LEAST_NEW, 1)
            restored = last + share * (restored - last)
        self._last[track.number] = restored
        return restored

    def forget_all_but(self, tracks: list[Track]) -> None:
        """Lets go of what tracks showed that have ended."""
        numbers = {track.number for track in tracks}
        self._last = {number: shown for number, shown in self._last.items() if number in numbers}


def _put_back(frame: _Frame, steady: _Steady, times: int) -> np.ndarray:
    pixels = paste.enlarge(frame.pixels, times)
    pixels = pixels if pixels is not frame.pixels else pixels.copy()
    for track, crop, restored in zip(frame.tracks, frame.crops, frame.restored, strict=True):
        try:
            subjects.put_back(pixels, crop, steady(track, restored), None, times)
        except ValueError as error:
            raise UserError(str(error)) from error
    steady.forget_all_but(frame.tracks)
    return pixels


def _report(source_film: Film, output: Path, count: int, tracks: list[Track], model: dict) -> dict:
    faces = [
        {"number": track.number, "first_frame": track.first, "last_frame": track.last, "frames": track.found}
        for track in sorted(tracks, key=lambda track: track.number)
    ]
    height, width = source_film.shape
    known = {"source": str(source_film.path), "result": str(output), "width": width, "height": height}
    return known | {"frames": count, "rate": str(source_film.rate), "faces": faces} | report.origin(model)
