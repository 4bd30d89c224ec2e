"""Crops of many pictures through the network in full batches, and the pictures out again in order."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from faceflax.restoration.restorers import RestoreBatch
from faceflax.restoration.subjects import Crop


class Work(Protocol):
    """A picture on its way.

    Attributes:
      crops: its faces.
      restored: float32 [S, S, 3] each, what the network has made of them so far, in their order and light.
      num_pixels: of the picture, which is in memory as long as it waits.
    """

    crops: list[Crop]
    restored: list[np.ndarray]
    num_pixels: int


def weight(work: Work, times: int = 1) -> int:
    """Returns the memory that a picture, `times` as large to each side, and its crops take, in pixels of a picture."""
    return work.num_pixels * times**2 + sum(crop.weight for crop in work.crops)


@dataclasses.dataclass
class Batches:
    """The network, and how much may wait for it.

    Attributes:
      restore: restores `size` crops at once.
      size: crops in a batch.
      most_pixels: pictures of more pixels, or crops of as much memory, do not wait until a batch is full.
    """

    restore: RestoreBatch
    size: int
    most_pixels: float

    def run(self, works: Iterator[Work]) -> Iterator[Work]:
        """Yields the pictures in order, each when all its faces are restored.

        The first faces do not wait for a full batch, so that something is there to be seen soon.
        """
        waiting: list[tuple[Work, Crop]] = []
        is_first = True
        inside: list[Work] = []
        for work in works:
            inside.append(work)
            waiting += [(work, crop) for crop in work.crops]
            while len(waiting) >= self.size or (waiting and is_first):
                waiting, is_first = self._restore_first(waiting), False
            if waiting and sum(map(weight, inside)) > self.most_pixels:
                waiting = self._restore_first(waiting)
            while inside and len(inside[0].restored) == len(inside[0].crops):
                yield inside.pop(0)
        if waiting:
            self._restore_first(waiting)
        yield from inside

    def _restore_first(self, waiting: list[tuple[Work, Crop]]) -> list[tuple[Work, Crop]]:
        batch = waiting[: self.size]
        images, missing = (np.stack([getattr(crop, name) for _, crop in batch]) for name in ("shown", "missing"))
        for (work, crop), result in zip(batch, self.restore(images, missing), strict=True):
            work.restored.append(crop.in_own_light(result))
        return waiting[self.size :]
