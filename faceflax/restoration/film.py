"""Video files: frames in by OpenCV, frames out by ffmpeg (imageio-ffmpeg ships one), with the sound as it was."""

import contextlib
import dataclasses
import fractions
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.preprocessing import acquire

_KEPT = (".mp4", ".mov", ".m4v", ".mkv")  # containers for H.264 that take the sound they came with; else Matroska
_QUALITY = "16"  # of H.264, whose scale ends at 0 without loss; 18 is called visually lossless
_MOST_RATE = 1000


@dataclasses.dataclass(frozen=True)
class Film:
    """What is known of a video before its frames are read: the frames' (H, W) and their number a second."""

    path: Path
    shape: tuple[int, int]
    rate: fractions.Fraction

    def frames(self) -> Iterator[np.ndarray]:
        """Yields uint8 RGB [H, W, 3], upright."""
        capture = acquire.open_video(str(self.path))
        try:
            while True:
                is_read, frame = capture.read()
                if not is_read:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()


def output_suffix(source: Path) -> str:
    """Returns the suffix of the result of a video: its own where that takes H.264 and any sound, else .mkv."""
    return source.suffix.lower() if source.suffix.lower() in _KEPT else ".mkv"


def probe(path: Path) -> Film:
    """Reads what a video says of itself; raises `UserError` when it is none, or has no frame."""
    if not os.access(path, os.R_OK) or not path.stat().st_size:
        raise UserError(f"{path}: cannot be read, or is empty")
    capture = acquire.open_video(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        is_read, frame = capture.read()
    finally:
        capture.release()
    if not is_read or not 0 < rate < _MOST_RATE:
        raise UserError(f"{path}: is no video that can be decoded; it is damaged or cut short")
    return Film(path, frame.shape[:2], fractions.Fraction(rate).limit_denominator(1001))


class Writer:
    """An ffmpeg that takes frames."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def write(self, frame: np.ndarray) -> None:
        """Takes the next frame, uint8 RGB [H, W, 3]."""
        self._process.stdin.write(np.ascontiguousarray(frame).data)


@contextlib.contextmanager
def writing(path: Path, shape: tuple[int, int], film: Film) -> Iterator[Writer]:
    """Yields a writer of frames of `shape` (H, W) at the rate of `film`, whose sound goes along.

    The video appears under `path` whole or not at all. Raises `UserError` when ffmpeg cannot write it.
    """
    import imageio_ffmpeg

    height, width = shape
    # Chroma at half the resolution is what every player knows; it needs even sides.
    colours = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as errors:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{width}x{height}", "-r", str(film.rate), "-i", "pipe:0", "-i", f"file:{film.path}"]
        command += ["-map", "0:v:0", "-map", "1:a?", "-c:a", "copy", "-c:v", "libx264", "-preset", "fast"]
        command += ["-crf", _QUALITY, "-pix_fmt", colours, "-map_metadata", "1", f"file:{temporary}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            with contextlib.suppress(BrokenPipeError):  # ffmpeg's own words follow
                yield Writer(process)
                process.stdin.close()
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if status:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise UserError(f"cannot write {path}: ffmpeg says: {said[-1]}")
