"""Where pictures come from: files, folders and patterns of names, and frames of videos, cameras and streams."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import footage, headers, images

# FFmpeg says nothing, as our own words follow; the level is looked at only with the other variable.
os.environ.setdefault("OPENCV_FFMPEG_DEBUG", "1")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
UNDECODABLE = (
    "is no video that can be decoded, as it is damaged, cut short or none at all; copy it again or leave it out"
)
_STREAM = re.compile(r"(rtsp|rtmp|https?|udp|tcp)://", re.IGNORECASE)
_PATIENCE_MS = 10_000
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+:/+)(.*)", re.IGNORECASE | re.DOTALL)  # a path lost its second slash


def is_live(source: str) -> bool:
    """Whether `source` is a camera's index, such as "0", or a stream's URL; a file of that name goes first."""
    return not os.path.lexists(source) and bool(source.isdecimal() or _STREAM.match(source))


def is_video(path: Path) -> bool:
    """Whether a file has a video's suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_pattern(given: str) -> bool:
    """Whether `given` is a pattern (`*`, `?`, `[a]`, `**` for any depth); files and folders of that name go first."""
    return _fixed(given) is not None


def _fixed(given: str) -> int | None:
    """How many parts of a name come before the first that is a pattern; None if none is."""
    ways = [Path(given), *Path(given).parents][::-1]
    ways = ways if Path(given).is_absolute() else ways[1:]
    return next((i for i, way in enumerate(ways) if glob.has_magic(way.name) and not os.path.lexists(way)), None)


def expand(pattern: str) -> list[Path]:
    """Returns the files and folders that fit a pattern, in order.

    As where a folder is named, links to folders are not followed, and hidden files and folders fit only what names
    them by a dot. A folder before the first `*` may have brackets in its name.
    """
    parts = Path(pattern).parts
    fixed = _fixed(pattern)
    free = [part if part == "**" else part.replace("**", "*") for part in parts[fixed:]]
    has_dot = any(part.startswith(".") for part in free)
    found = Path(*parts[:fixed]).glob("/".join(free))
    return sorted({path for path in found if _is_plain(path, fixed, has_dot)})


def _is_plain(path: Path, fixed: int, has_dot: bool) -> bool:
    """Whether nothing on the way to `path`, after its first `fixed` parts, is hidden or a link to a folder."""
    ways = [Path(*path.parts[: end + 1]) for end in range(fixed, len(path.parts))]
    return all((has_dot or not way.name.startswith(".")) and not (way.is_symlink() and way.is_dir()) for way in ways)


def shown(source: str) -> str:
    """Returns a source's name without what may be secret in a URL: user, password, query and fragment.

    Where the user ends is not clear if `?` or `#` comes before an `@`; then only the scheme is left.
    """
    address = _ADDRESS.match(source)
    if address is None:
        return source
    scheme, rest = address.groups()
    before, _, after = rest.rpartition("@")
    return scheme + ("..." if re.search(r"[?#]", before) else re.split(r"[?#]", after)[0])


def frames(source: str, every: int = 1, limit: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yields every `every`-th frame of a video file, camera or stream, with its number, as uint8 RGB [H, W, 3].

    Turned upright as a video file's metadata says. At most `limit` frames, if given. Raises `UserError` when the source
    cannot be opened, gives no frame, or gives one of more pixels than `images.MAX_PIXELS`; after its last frame, when a
    file that was read to its end is cut short.
    """
    if not is_live(source):
        check_file(Path(source))
    capture = _open(source)
    try:
        if not capture.isOpened():
            raise UserError(f"{shown(source)}: {_absence(source)}")
        number, given, is_at_end = 0, 0, False
        while limit is None or given < limit:
            if not capture.grab():
                is_at_end = not is_live(source)
                break
            if number % every == 0:
                is_read, frame = capture.retrieve()
                if is_read:
                    yield number, _checked(frame, source)
                    given += 1
            number += 1
        if not given:
            raise UserError(f"{shown(source)}: {_absence(source)}")
        if is_at_end:
            footage.packet_times(Path(source))
    finally:
        capture.release()


def check_file(path: Path) -> None:
    """Raises `UserError` for a video file that cannot be read or is empty."""
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: cannot be read; check its permissions")
    if not path.stat().st_size:
        raise UserError(f"{path}: {headers.EMPTY}")


def _open(source: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(int(source)) if is_live(source) and source.isdecimal() else open_video(source)


def open_video(source: str) -> cv2.VideoCapture:
    """Opens a video file or stream; it may turn out to be none.

    Raises `UserError` for a name that is not UTF-8, which would end the process in OpenCV.
    """
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{shown(source)}: a video's name must be UTF-8; rename it") from error
    if not is_live(source):
        source = str(Path(source).absolute())  # so that no name of a file is taken for an address
    patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _PATIENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _PATIENCE_MS]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, patience)


def _absence(source: str) -> str:
    if is_live(source):
        return "no such camera or stream; check that it is connected and not in use"
    return UNDECODABLE


def _checked(frame: np.ndarray, source: str) -> np.ndarray:
    if frame.shape[0] * frame.shape[1] > images.MAX_PIXELS:
        reason = "its frames are larger than the 100 million pixels that are allowed; make a smaller video of it"
        raise UserError(f"{shown(source)}: {reason}")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if frame.ndim == 3 else cv2.COLOR_GRAY2RGB)
