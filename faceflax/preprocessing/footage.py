"""Video files as ffmpeg lists them (imageio-ffmpeg ships one): whether a file is whole, and when its frames show."""

import array
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faceflax.errors import UserError

_INPUT = ["-map", "0:V:0", "-map", "0:a?", "-map", "0:s?", "-map", "0:d?"]
_CLAIM = re.compile(r"^Input #0, (?:mov|matroska),.*?^ +Duration: (\d+):(\d+):([\d.]+),", re.MULTILINE | re.DOTALL)
# A broadcast has corrupt packets in its middle, too.
_CUT = re.compile(r"^(?!.*\bmpegts @).*(?:File ended prematurely|partial file|Packet corrupt)", re.MULTILINE)
# Seconds, and share of the claim, whichever is more, by which headers of whole files are wrong.
_MOST_LOST = (1.0, 0.02)
_NO_STAMP = -(2**63)  # that number stands for none
_INTEGER = re.compile(r"-?\d+")
_UNIT = re.compile(r"#tb (\d+): (\d+)/(\d+)")
_HIDDEN = 4  # flag of a packet that is decoded and not shown


def executable() -> str:
    """Returns the path of ffmpeg."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def packet_times(path: Path) -> np.ndarray:
    """Returns when each packet of the pictures shows, in order, in seconds from the file's start, by its list alone.

    Without those that an edit list hides; empty where some have no time of their own, as hidden ones of VP8. Raises
    `UserError` when the file is cut short or cannot be read.
    """
    units: dict[str, float] = {}
    stamps, end = array.array("q"), None

    def take(line: str) -> None:
        nonlocal end
        if unit := _UNIT.match(line):
            units[unit[1]] = int(unit[2]) / int(unit[3])
        if not line[:1].isdigit():
            return
        fields = [field.strip() for field in line.split(",")]
        stamp, duration = _number(fields[2]), _number(fields[3])
        if _NO_STAMP not in (stamp, duration):
            end = max((stamp + duration) * units[fields[0]], end or 0.0)
        if fields[0] == "0" and not _is_hidden(fields):
            stamps.append(stamp)

    said = _list(path, [*_INPUT, "-c", "copy"], take)
    check_end(path, said, end)
    return _in_order(stamps, units.get("0", 0.0))


def frame_times(path: Path) -> np.ndarray:
    """As `packet_times`, of the frames that come out, which takes decoding them.

    Hidden packets (of VP8) and such as cannot be decoded, after a cut that is not at a key frame, give none.
    """
    unit, stamps = 0.0, array.array("q")

    def take(line: str) -> None:
        nonlocal unit
        if found := _UNIT.match(line):
            unit = int(found[2]) / int(found[3])
        if line.startswith("0,"):
            stamps.append(_number(line.split(",")[2]))

    said = _list(path, ["-map", "0:V:0", "-fps_mode", "passthrough", "-enc_time_base", "demux"], take)
    check_end(path, said)
    return _in_order(stamps, unit)


def check_end(path: Path, said: str, end: float | None = None) -> None:
    """Raises `UserError` where a video ends before its time, by ffmpeg's words at level "warning" or below.

    Also where it claims to last longer than to `end`, in seconds, if given.
    """
    claim = _CLAIM.search(said)
    claimed = 3600 * int(claim[1]) + 60 * int(claim[2]) + float(claim[3]) if claim else 0.0
    is_less = None not in (end, claim) and claimed - end > max(_MOST_LOST[0], _MOST_LOST[1] * claimed)
    if is_less or _CUT.search(said):
        where = f" at {end:.1f} of {claimed:.1f} seconds" if None not in (end, claim) else ""
        whole = path.with_name(f"{path.stem}-part{path.suffix}")
        command = shlex.join([executable(), "-i", f"file:{path}", "-c", "copy", f"file:{whole}"])
        raise UserError(f"{path}: is cut short{where}; get it whole, or make a video of what there is: {command}")


def _list(path: Path, options: list[str], take: Callable[[str], None]) -> str:
    """Gives each line of the list of packets or frames that ffmpeg makes to `take`; returns what it said.

    A film may have more packets than memory has room for their lines.
    """
    command = [executable(), "-hide_banner", "-nostats", "-i", f"file:{path}", *options, "-f", "framecrc", "pipe:1"]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
            for line in process.stdout:
                take(line.decode(errors="replace"))
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if process.returncode:
        raise UserError(
            f"{path}: cannot be read as a video; copy it again or leave it out (ffmpeg says: {last_line(said)})"
        )
    return said


def last_line(said: str) -> str:
    """Returns the last line of what ffmpeg said."""
    return (said.strip().splitlines() or ["no reason given"])[-1]


def _number(field: str) -> int:
    return int(field) if _INTEGER.fullmatch(field.strip()) else _NO_STAMP


def _is_hidden(fields: list[str]) -> bool:
    flags = [int(field[2:], 16) for field in fields[6:] if field.startswith("F=")]
    return bool(flags and flags[0] & _HIDDEN)


def _in_order(stamps: array.array, unit: float) -> np.ndarray:
    if not unit or _NO_STAMP in stamps:
        return np.zeros(0)
    seconds = np.sort(np.array(stamps, np.int64)) * unit
    return seconds if (np.diff(seconds) > 0).all() else np.zeros(0)
