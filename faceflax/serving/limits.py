"""What one visitor may ask of the page: how large a file, how often; and how long what they sent is kept."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from faceflax.errors import UserError
from faceflax.preprocessing import sizes

_MOST_CLIENTS = 10_000
_WINDOW = 60.0  # seconds


@dataclasses.dataclass(frozen=True)
class Limits:
    """Attributes:
    megabytes: of an uploaded file, of 10^6 bytes each.
    megapixels: of an uploaded photograph.
    per_minute: requests of one client for the network; it may upload 10 files' megabytes in that time.
    waiting: requests that wait for the network; further ones are refused.
    """

    megabytes: float = 20
    megapixels: float = 16
    per_minute: int = 30
    waiting: int = 16


def check_file(path: Path, limits: Limits) -> None:
    """Raises `UserError`, one sentence without the path, for a file that is too large or no image by its header."""
    try:
        size = path.stat().st_size
        if size > limits.megabytes * 1e6:
            raise UserError(
                f"The file has {size / 1e6:.1f} MB, more than the {limits.megabytes:g} MB that are allowed; "
                "upload a smaller one."
            )
        if not size:
            raise UserError("The file is empty; upload another.")
        width, height = sizes.claimed(path)
    except OSError as error:
        raise UserError("The photograph is no longer here; upload it again.") from error
    except ValueError as error:
        raise UserError(f"The file cannot be used: {error}, or upload another.") from error
    if width * height > limits.megapixels * 1e6:
        raise UserError(
            f"The photograph has {width}x{height} pixels, more than the {limits.megapixels:g} million that are "
            "allowed; upload a smaller one."
        )


class RateLimit:
    """Adds up what each client did within the last minute; the clients seen longest ago are forgotten."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic):
        """Makes one that allows a client `per_minute`, in any unit, in any minute of `clock`, which gives seconds."""
        self._most, self._clock = per_minute, clock
        self._done: collections.OrderedDict[str, collections.deque[tuple[float, float]]] = collections.OrderedDict()

    def wait(self, client: str, amount: float = 1.0) -> float:
        """Counts `amount` and returns 0, or returns the seconds until there is room for it, and does not count it."""
        now = self._clock()
        done = self._done.setdefault(client, collections.deque())
        self._done.move_to_end(client)
        if len(self._done) > _MOST_CLIENTS:
            self._done.popitem(last=False)
        while done and done[0][0] <= now - _WINDOW:
            done.popleft()
        excess = sum(counted for _, counted in done) + amount - self._most
        if excess <= 0:
            done.append((now, amount))
            return 0.0
        for moment, counted in done:
            excess -= counted
            if excess <= 0:
                return moment + _WINDOW - now
        return _WINDOW


def sweep(folder: Path, seconds: float) -> int:
    """Removes what is below `folder` and older than `seconds`, files and empty folders; returns how many files."""
    oldest, removed = time.time() - seconds, 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        with contextlib.suppress(OSError):  # someone else removed it, or the folder is not empty
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
                removed += 1
    return removed
