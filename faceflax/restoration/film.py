"""Video files: frames in and out by ffmpeg, their times, colours and sound as they were."""

import array
import contextlib
import dataclasses
import errno
import fractions
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.preprocessing import acquire, footage
from faceflax.restoration import interruption, matroska, results

_KEPT = (".mp4", ".mov", ".m4v", ".mkv")  # containers for H.264 that take the sound they came with; else Matroska
_QUALITY = "16"  # of H.264, whose scale ends at 0 without loss; 18 is called visually lossless
_MOST_RATE = 1000
_UNEVEN = 0.25  # of a frame's time: a video whose frames show that much early or late has no steady rate
_COLOURS = re.compile(r"color_range:([\w-]+) color_space:([\w-]+) color_primaries:([\w-]+) color_trc:([\w-]+)")
_PIXEL = re.compile(r" sar:(\d+)/(\d+) ")
# Names of ffmpeg for matrices from RGB, and those that its scaler has for them.
_MATRICES = {"bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "bt470", "fcc": "fcc", "smpte240m": "smpte240m"}
_MATRICES |= {"bt2020nc": "bt2020"}


@dataclasses.dataclass(frozen=True)
class Film:
    """What is known of a video before its frames are read.

    Attributes:
      path: of the file.
      shape: the frames' (H, W).
      rate: the frames' number a second, the mean where it varies.
      start: seconds from the file's start to the first frame.
      times: when each frame shows, in ticks of `matroska.TICK` after the first; empty where the rate is steady.
      filters: of ffmpeg, that give frames the file's matrix, range, primaries, transfer and pixels' shape.
    """

    path: Path
    shape: tuple[int, int]
    rate: fractions.Fraction
    start: float = 0.0
    times: Sequence[int] = ()
    filters: tuple[str, ...] = ()

    def frames(self) -> Iterator[np.ndarray]:
        """Yields uint8 RGB [H, W, 3], upright; raises `UserError` when they end before the file does."""
        command = [footage.executable(), "-hide_banner", "-loglevel", "warning", "-i", f"file:{self.path}"]
        command += ["-map", "0:V:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
                try:
                    num_bytes = self.shape[0] * self.shape[1] * 3
                    while len(data := process.stdout.read(num_bytes)) == num_bytes:
                        yield np.frombuffer(data, np.uint8).reshape(*self.shape, 3)
                    status = process.wait()
                finally:
                    process.kill()
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        footage.check_end(self.path, said)
        if status or data:
            reason = footage.last_line(said)
            raise UserError(
                f"{self.path}: cannot be decoded to its end; copy it again or leave it out (ffmpeg says: {reason})"
            )


def output_suffix(source: Path) -> str:
    """Returns the suffix of the result of a video: its own where that takes H.264 and any sound, else .mkv."""
    return source.suffix.lower() if source.suffix.lower() in _KEPT else ".mkv"


def probe(path: Path) -> Film:
    """Reads what a video says of itself; raises `UserError` when it is none, has no frame, or is cut short."""
    acquire.check_file(path)
    capture = acquire.open_video(str(path))
    try:
        given = capture.get(cv2.CAP_PROP_FPS)
        is_read, frame = capture.read()
    finally:
        capture.release()
    if not is_read or not 0 < given < _MOST_RATE:
        raise UserError(f"{path}: {acquire.UNDECODABLE}")
    rate = fractions.Fraction(given).limit_denominator(1001)
    times = footage.packet_times(path)
    times = footage.frame_times(path) if not len(times) or _uneven(times, rate) else times
    start = float(times[0]) if len(times) else 0.0
    return Film(path, frame.shape[:2], rate, max(0.0, start), _uneven(times, rate), _filters(_first_frame(path)))


def _first_frame(path: Path) -> str:
    """What ffmpeg's `showinfo` says of it."""
    command = [footage.executable(), "-hide_banner", "-i", f"file:{path}", "-map", "0:V:0", "-frames:v", "1"]
    command += ["-vf", "showinfo", "-f", "null", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stderr.decode(errors="replace")


def _uneven(seconds: np.ndarray, rate: fractions.Fraction) -> array.array:
    """What `Film.times` says, in 8 bytes a frame."""
    if not len(seconds):
        return array.array("q")
    late = (seconds - seconds[0]) * float(rate) - np.arange(len(seconds))
    if np.ptp(late) <= _UNEVEN:
        return array.array("q")
    return array.array("q", np.round((seconds - seconds[0]) / matroska.TICK).astype(np.int64).tobytes())


def _filters(said: str) -> tuple[str, ...]:
    """What makes frames of RGB into such as ffmpeg's `showinfo` saw; what the file does not say is left open."""
    filters, colours, pixel = [], _COLOURS.search(said), _PIXEL.search(said)
    values = colours.groups() if colours else ("unknown",) * 4
    known = dict(zip(("range", "colorspace", "color_primaries", "color_trc"), values, strict=True))
    known = {name: value for name, value in known.items() if value not in ("unknown", "unspecified", "reserved")}
    if known.get("colorspace") not in _MATRICES:
        known.pop("colorspace", None)
    scaler = [f"out_range={known['range']}"] if "range" in known else []
    scaler += [f"out_color_matrix={_MATRICES[known['colorspace']]}"] if "colorspace" in known else []
    filters += [f"scale={':'.join(scaler)}"] if scaler else []
    filters += ["setparams=" + ":".join(f"{name}={value}" for name, value in known.items())] if known else []
    filters += [f"setsar={pixel[1]}/{pixel[2]}"] if pixel and int(pixel[1]) and int(pixel[2]) else []
    return tuple(filters)


class Writer:
    """An ffmpeg that takes frames."""

    def __init__(self, process: subprocess.Popen, film: Film):
        self._process, self._film, self._count = process, film, 0

    def write(self, frame: np.ndarray) -> None:
        """Takes the next frame, uint8 RGB [H, W, 3]."""
        if self._film.times:
            self._process.stdin.write(matroska.frame_header(self._time(), frame.nbytes))
        self._process.stdin.write(np.ascontiguousarray(frame).data)
        self._count += 1

    def _time(self) -> int:
        """When the next frame shows; those that the file did not tell of follow at the mean rate."""
        times, beyond = self._film.times, self._count + 1 - len(self._film.times)
        return times[self._count] if beyond <= 0 else times[-1] + round(beyond / float(self._film.rate) / matroska.TICK)


@contextlib.contextmanager
def writing(path: Path, shape: tuple[int, int], film: Film) -> Iterator[Writer]:
    """Yields a writer of frames of `shape` (H, W) at the times and in the colours of `film`, whose sound goes along.

    The video appears under `path` whole or not at all. Raises `UserError` when ffmpeg cannot write it.
    """
    height, width = shape
    # Chroma at half the resolution is what every player knows; it needs even sides.
    colours = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as errors:
        command = [footage.executable(), "-y", "-loglevel", "error", "-itsoffset", f"{film.start:.6f}"]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(film.rate)]
        command += ["-f", "matroska"] if film.times else raw
        command += ["-i", "pipe:0", "-i", f"file:{film.path}", "-map", "0:v:0", "-map", "1:a?", "-c:a", "copy"]
        command += ["-fps_mode", "passthrough", "-vf", ",".join((*film.filters, f"format={colours}"))]
        command += ["-c:v", "libx264", "-preset", "fast", "-crf", _QUALITY, "-map_metadata", "1", f"file:{temporary}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": errors}
        with interruption.running(command, **pipes) as process:
            with contextlib.suppress(BrokenPipeError):  # ffmpeg's own words follow
                if film.times:
                    process.stdin.write(matroska.header(shape))
                yield Writer(process, film)
                process.stdin.close()
            status = process.wait()
        if status:
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            if os.strerror(errno.ENOSPC) in said:  # `atomic_path` says so, as of any file
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise UserError(
                f"cannot write {path}; choose another --out or kind of video (ffmpeg says: {footage.last_line(said)})"
            )
        results.forget(path)
