"""What is fitted to the measured cells of one kind of device: the seconds of a step, and what a device does in it.

Seconds = launch + operations / rate + bytes sent / bandwidth + messages x latency. What is done, held or moved =
whole + split / shards + images x each, where the shards are the devices that parameters are split over. All numbers are
at least 0. Cells of images that are split by rows are left out: what is sent and done for the seams is neither.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from faceflax.scaling.cells import Cell


@dataclasses.dataclass(frozen=True)
class Fit:
    """A model of a step on the devices measured.

    Attributes:
      launch: seconds of a step that nothing of the following makes.
      per_flop, per_byte, per_message: seconds.
      error: mean relative error on the cells that it was fitted to.
      held_out: the same on those of most devices, by a fit without them; NaN where too few are left.
      knows_talk: whether devices sent each other anything in the cells.
    """

    launch: float
    per_flop: float
    per_byte: float
    per_message: float
    error: float
    held_out: float
    knows_talk: bool


def seconds(cells: Sequence[Cell]) -> Fit | None:
    """Fits the model to the median seconds of `cells`, all of one kind of device, each by its relative error.

    None where no two cells have a different number of operations on a device: nothing tells launch from work.
    """
    cells = of_whole_images(cells)
    if not _differ(cells):
        return None
    coefficients = _solve(_terms(cells), _medians(cells))
    most = max(cell.place.devices for cell in cells)
    fewer, others = [c for c in cells if c.place.devices < most], [c for c in cells if c.place.devices == most]
    held_out = math.nan
    if len({c.place.devices for c in fewer}) > 1 and _differ(fewer):
        held_out = _error(_terms(others), _solve(_terms(fewer), _medians(fewer)), _medians(others))
    error = _error(_terms(cells), coefficients, _medians(cells))
    return Fit(*coefficients, error=error, held_out=held_out, knows_talk=any(cell.messages for cell in cells))


def of_whole_images(cells: Sequence[Cell]) -> list[Cell]:
    """Returns those of `cells` whose images are not split over devices, which are the ones that are fitted."""
    return [cell for cell in cells if cell.place.layout != "spatial"]


def _differ(cells: Sequence[Cell]) -> bool:
    work = [_work(cell) for cell in cells]
    return bool(work) and max(work) > 1.01 * min(work)


def _terms(cells: Sequence[Cell]) -> np.ndarray:
    return np.array([[1.0, _work(cell), cell.sent_bytes, cell.messages] for cell in cells])


def _medians(cells: Sequence[Cell]) -> np.ndarray:
    return np.array([cell.median_seconds for cell in cells])


def _work(cell: Cell) -> float:
    """The operations that follow each other: of all devices where they are simulated, and share the same cores."""
    return cell.flops if cell.device_kind == "cpu" else cell.flops / cell.place.devices


class Count(NamedTuple):
    """Something that is counted of one device's step.

    Attributes:
      whole: what is there whatever the batch and the layout.
      split: what is divided by the shards.
      per_image: for each image of the device.
      error: mean relative error on the cells.
    """

    whole: float
    split: float
    per_image: float
    error: float

    def at(self, shards: int, images: float) -> float:
        """Returns the count for so many images on each device, with parameters split over so many of them."""
        return self.whole + self.split / shards + self.per_image * images


def count(cells: Sequence[Cell], value: Callable[[Cell], float]) -> Count:
    """Fits `value` of `cells`, all of one kind of device, each by its relative error.

    Needs two numbers of images on a device. Where no cell has split parameters, all that does not grow with the images
    counts as split.
    """
    cells = of_whole_images(cells)
    values = np.array([value(cell) for cell in cells])
    are_split = any(cell.place.shards > 1 for cell in cells)
    terms = np.array([[are_split, 1 / cell.place.shards, cell.images_per_device] for cell in cells])
    coefficients = _solve(terms, values)
    return Count(*coefficients, error=_error(terms, coefficients, values))


def _solve(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The coefficients, at least 0, by the relative error of `terms @ coefficients`."""
    terms = terms / values[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)  # columns are of very different sizes
    return nnls(terms / scale, np.ones(len(values)))[0] / scale


def _error(terms: np.ndarray, coefficients: np.ndarray, values: np.ndarray) -> float:
    return float(np.mean(np.abs(terms @ coefficients / values - 1)))
