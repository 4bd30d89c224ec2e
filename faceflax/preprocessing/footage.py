"""Video files as ffmpeg lists them (imageio-ffmpeg ships one): whether a file is whole, and when its frames show."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np

from faceflax.errors import UserError

_INPUT = ["-map", "0:V:0", "-map", "0:a?", "-map", "0:s?", "-map", "0:d?"]
_CLAIM = re.compile(r"^Input #0, (?:mov|matroska),.*?^ +Duration: (\d+):(\d+):([\d.]+),", re.MULTILINE | re.DOTALL)
# A broadcast has corrupt packets in its middle, too.
_CUT = re.compile(r"^(?!.*\bmpegts @).*(?:File ended prematurely|partial file|Packet corrupt)", re.MULTILINE)
_MOST_LOST = (
    1.0,
    0.02,
)  # seconds, and share of the claim, whichever is more, by which headers of whole files are wrong
_STAMP = re.compile(r"(?!-9223372036854775808)-?\d+")  # that number stands for none
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
    listed, said = _list(path, [*_INPUT, "-c", "copy"])
    units = {stream: _unit(listed, stream) for stream in re.findall(r"^#tb (\d+):", listed, re.MULTILINE)}
    packets = [[field.strip() for field in line.split(",")] for line in listed.splitlines() if line[:1].isdigit()]
    timed = [packet for packet in packets if _STAMP.fullmatch(packet[2])]
    check_end(path, said, max(((int(packet[2]) + int(packet[3])) * units[packet[0]] for packet in timed), default=None))
    shown = [packet for packet in packets if packet[0] == "0" and not _is_hidden(packet)]
    return _in_order([packet[2] for packet in shown], units.get("0", 0.0))


def frame_times(path: Path) -> np.ndarray:
    """As `packet_times`, of the frames that come out, which takes decoding them.

    Hidden packets (of VP8) and such as cannot be decoded, after a cut that is not at a key frame, give none.
    """
    listed, said = _list(path, ["-map", "0:V:0", "-fps_mode", "passthrough", "-enc_time_base", "demux"])
    check_end(path, said)
    stamps = [line.split(",")[2].strip() for line in listed.splitlines() if line.startswith("0,")]
    return _in_order(stamps, _unit(listed, "0"))


def check_end(path: Path, said: str, end: float | None = None) -> None:
    """Raises `UserError` where a video ends before its time, by ffmpeg's words at level "warning" or below.

    Also where it claims to last longer than to `end`, in seconds, if given.
    """
    claim = _CLAIM.search(said)
    claimed = 3600 * int(claim[1]) + 60 * int(claim[2]) + float(claim[3]) if claim else 0.0
    is_less = None not in (end, claim) and claimed - end > max(_MOST_LOST[0], _MOST_LOST[1] * claimed)
    if is_less or _CUT.search(said):
        where = f" at {end:.1f} of {claimed:.1f} seconds" if None not in (end, claim) else ""
        command = f"ffmpeg -i {shlex.quote(path.name)} -c copy {shlex.quote(f'part{path.suffix}')}"
        raise UserError(f"{path}: is cut short{where}; get it whole, or make a video of what there is: {command}")


def _list(path: Path, options: list[str]) -> tuple[str, str]:
    """The list of packets or frames that ffmpeg makes, and what it said."""
    command = [executable(), "-hide_banner", "-nostats", "-i", f"file:{path}", *options, "-f", "framecrc", "pipe:1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        raise UserError(f"{path}: cannot be read as a video: ffmpeg says: {last_line(said)}")
    return done.stdout.decode(errors="replace"), said


def last_line(said: str) -> str:
    """Returns the last line of what ffmpeg said."""
    return (said.strip().splitlines() or ["no reason given"])[-1]


def _unit(listed: str, stream: str) -> float:
    unit = re.search(rf"^#tb {stream}: (\d+)/(\d+)", listed, re.MULTILINE)
    return int(unit[1]) / int(unit[2]) if unit else 0.0


def _is_hidden(packet: list[str]) -> bool:
    flags = [int(field[2:], 16) for field in packet[6:] if field.startswith("F=")]
    return bool(flags and flags[0] & _HIDDEN)


def _in_order(stamps: list[str], unit: float) -> np.ndarray:
    if not unit or not all(_STAMP.fullmatch(stamp) for stamp in stamps):
        return np.zeros(0)
    seconds = np.sort(np.array(stamps, np.int64)) * unit
    return seconds if (np.diff(seconds) > 0).all() else np.zeros(0)
