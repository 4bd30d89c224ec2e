"""Faces followed from frame to frame, so that what is put back neither trembles nor flickers."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from faceflax.preprocessing.detection import overlap
from faceflax.preprocessing.mesh import Mesh
from faceflax.restoration.subjects import MOST_YAW, Located

_LEAST_OVERLAP = 0.3  # intersection over union, from which a box is the one of the frame before
_RAMP = 5  # frames in which a face that is found fades in, and one that is lost out
_MASK_SHARE = 0.25  # of a new frame in the blend's mask
_GAIN_SHARE = 0.25  # of a new frame in the gain by which the network is shown a dark face
# Of the one-euro filter: Hertz for a face at rest, and Hertz more for each distance of the eyes that it moves a second.
_REST, _SLOPE = 1.0, 5.0
_SPEED_CUTOFF = 1.0  # Hertz


class OneEuro:
    """Smooths points: much where they rest, little where they move (Casiez et al., CHI 2012)."""

    def __init__(self, rate: float):
        """Makes a filter for `rate` values a second."""
        self._rate, self._value, self._speed = rate, None, 0.0

    def __call__(self, points: np.ndarray, unit: float) -> np.ndarray:
        """Returns `points` [N, 2] smoothed; speed is measured in units of `unit` pixels."""
        if self._value is None:
            self._value, self._speed = points, np.zeros_like(points)
            return points
        self._speed = self._speed + self._share(_SPEED_CUTOFF) * ((points - self._value) * self._rate - self._speed)
        cutoff = _REST + _SLOPE * np.linalg.norm(self._speed, axis=1).mean() / unit
        self._value = self._value + self._share(cutoff) * (points - self._value)
        return self._value

    def _share(self, cutoff: float) -> float:
        return 1 / (1 + self._rate / (2 * np.pi * cutoff))


class Seen(NamedTuple):
    """What is known of a face that was followed, once it is gone: a film has more of them than memory has room for.

    Attributes:
      number: counts the faces of a video from 1.
      first, last: numbers of the frames that it was found in.
      found: in how many of them.
    """

    number: int
    first: int
    last: int
    found: int


@dataclasses.dataclass(eq=False)
class Track:
    """One face through the frames.

    Attributes:
      number: counts the faces of a video from 1.
      box: [4], as it was last found.
      points: [5, 2], smoothed.
      mesh: the last one that the network was sure of, or None.
      weight: how much of the restored face shows, 0 to 1.
      first, last, found: as of `Seen`.
      mask: what `blended_mask` took last, smoothed.
      gain: what `steady_gain` took last, smoothed.
    """

    number: int
    box: np.ndarray
    points: np.ndarray
    mesh: Mesh | None
    weight: float
    first: int
    last: int
    found: int
    smooth: OneEuro
    mask: np.ndarray | None = None
    gain: float | None = None

    def seen(self) -> Seen:
        """Returns what outlasts it."""
        return Seen(self.number, self.first, self.last, self.found)

    def blended_mask(self, mask: np.ndarray) -> np.ndarray:
        """Returns the mask [S, S] of this frame, smoothed over the last ones and faded with the track."""
        self.mask = mask if self.mask is None else self.mask + _MASK_SHARE * (mask - self.mask)
        return self.mask * np.float32(self.weight)

    def steady_gain(self, gain: float) -> float:
        """Returns the gain of this frame, smoothed over the last ones, as the network's answer changes with it."""
        self.gain = gain if self.gain is None else self.gain + _GAIN_SHARE * (gain - self.gain)
        return self.gain


class Tracker:
    """Follows the faces of one video; `update` is told of its frames in order."""

    def __init__(self, rate: float):
        """Makes a tracker for `rate` frames a second."""
        self.tracks: list[Track] = []
        self.ended: list[Seen] = []
        self._rate, self._frame, self._numbers = rate, -1, itertools.count(1)

    def update(self, found: list[Located]) -> list[Track]:
        """Takes the next frame's faces and returns the tracks that show in it.

        A face that was not found stays for some frames where it was while it fades; those from the side fade as well.
        """
        self._frame += 1
        seen = [located for located in found if located.yaw is None or abs(located.yaw) <= MOST_YAW]
        pairs = _pairs([track.box for track in self.tracks], [located.face.box for located in seen])
        for track_index, track in enumerate(self.tracks):
            self._advance(track, seen[pairs[track_index]] if track_index in pairs else None)
        for index in sorted(set(range(len(seen))) - set(pairs.values())):
            self._begin(seen[index])
        self.ended += [track.seen() for track in self.tracks if track.weight <= 0]
        self.tracks = [track for track in self.tracks if track.weight > 0]
        return list(self.tracks)

    def seen(self) -> list[Seen]:
        """Returns the faces of all frames so far, by their numbers."""
        return sorted([*self.ended, *(track.seen() for track in self.tracks)])

    def _advance(self, track: Track, located: Located | None) -> None:
        if located is None:
            track.weight = round(track.weight - 1 / _RAMP, 6)
            return
        track.weight = min(1.0, track.weight + 1 / _RAMP)
        # A mesh is of its own frame: an old one would lie where the face was.
        track.box, track.mesh = located.face.box, located.mesh
        track.points = track.smooth(located.face.points, _unit(located.face.points))
        track.last, track.found = self._frame, track.found + 1

    def _begin(self, located: Located) -> None:
        smooth, points = OneEuro(self._rate), located.face.points
        smooth(points, 1.0)
        weight = 1.0 if self._frame == 0 else 1 / _RAMP
        seen = {"first": self._frame, "last": self._frame, "found": 1}
        track = Track(next(self._numbers), located.face.box, points, located.mesh, weight, smooth=smooth, **seen)
        self.tracks.append(track)


def _unit(points: np.ndarray) -> float:
    """The distance between the eyes, at least a pixel."""
    return max(1.0, float(np.linalg.norm(points[1] - points[0])))


def _pairs(old: list[np.ndarray], new: list[np.ndarray]) -> dict[int, int]:
    """For old boxes the number of the new one that overlaps most, the largest overlaps first."""
    found = ((overlap(one, other), i, j) for i, one in enumerate(old) for j, other in enumerate(new))
    overlaps = sorted(found, reverse=True)
    pairs: dict[int, int] = {}
    for value, i, j in overlaps:
        if value >= _LEAST_OVERLAP and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs
