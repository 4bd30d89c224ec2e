"""Step times on devices that are not here: a model of a step, fitted to measured cells, and carried to whole pods.

Measured: seconds = launch + operations / rate + bytes sent / bandwidth + messages x latency, all of them at least 0.
Carried over to an accelerator are the operations and the bytes of the compiled step, not its seconds; see `predict`.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict
from scipy.optimize import nnls

from faceflax.scaling import hardware
from faceflax.scaling.cells import Cell
from faceflax.scaling.hardware import Accelerator


@dataclasses.dataclass(frozen=True)
class Fit:
    """A model of a step on the devices measured.

    Attributes:
      launch: seconds of a step that nothing of the following makes.
      per_flop, per_byte, per_message: seconds.
      error: mean relative error on the cells that it was fitted to.
      held_out: the same on those of most devices, by a fit without them; NaN where too few are left.
    """

    launch: float
    per_flop: float
    per_byte: float
    per_message: float
    error: float
    held_out: float


def fit(cells: Sequence[Cell]) -> Fit:
    """Fits the model to the median seconds of `cells`, each by its relative error."""
    coefficients = _solve(cells)
    most = max(cell.place.devices for cell in cells)
    fewer, others = [c for c in cells if c.place.devices < most], [c for c in cells if c.place.devices == most]
    held_out = _error(others, _solve(fewer)) if len({c.place.devices for c in fewer}) > 1 else math.nan
    return Fit(*coefficients, error=_error(cells, coefficients), held_out=held_out)


def _terms(cells: Sequence[Cell]) -> np.ndarray:
    return np.array([[1.0, _work(cell), cell.sent_bytes, cell.messages] for cell in cells])


def _work(cell: Cell) -> float:
    """The operations that follow each other: of all devices where they are simulated, and share the same cores."""
    return cell.flops if cell.device_kind == "cpu" else cell.flops / cell.place.devices


def _solve(cells: Sequence[Cell]) -> np.ndarray:
    seconds = np.array([median_seconds(cell) for cell in cells])
    terms = _terms(cells) / seconds[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)  # columns are of very different sizes
    return nnls(terms / scale, np.ones(len(cells)))[0] / scale


def _error(cells: Sequence[Cell], coefficients: np.ndarray) -> float:
    seconds = np.array([median_seconds(cell) for cell in cells])
    return float(np.mean(np.abs(_terms(cells) @ coefficients / seconds - 1)))


def median_seconds(cell: Cell) -> float:
    """The median of a cell's timings."""
    return float(np.median(cell.seconds))


def share_of_peak(cell: Cell) -> float:
    """The cell's operations by what its devices could do in that time (MFU); NaN for devices of unknown peak."""
    peak = hardware.peak_flops(cell.device_kind)
    return cell.flops / (median_seconds(cell) * peak * cell.place.devices) if peak else math.nan


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step on a pod: seconds of its parts, and whether it fits into the devices' memory."""

    pod: str
    mode: str
    layout: str
    devices: int
    batch: int
    work: float
    memory_traffic: float
    talk: float
    seconds: float
    fits: bool

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.batch / self.seconds


def predict(settings: ConfigDict, cells: Sequence[Cell]) -> list[Prediction]:
    """Returns steps on the pods of every accelerator, for the layouts "data" and "fsdp", weak and strong.

    By image, operations and bytes moved are those of the weak cell on one device. Devices work at the share of their
    peak that was measured on that kind, else at `settings.pods.share_of_peak`; a step takes the longer of its work and
    its memory traffic, and what of the talk does not hide behind them. Talk is that of rings within an island and
    between islands (2 (n-1)/n of the gradients are sent for "data"; for "fsdp" parameters are gathered twice and
    gradients scattered, 3 (n-1)/n), and a latency for every doubling of the devices and message.
    """
    base = next(cell for cell in cells if cell.place.mode == "weak" and cell.place.devices == 1)
    found = []
    for accelerator in hardware.ACCELERATORS:
        share = _share(settings, accelerator, cells)
        for mode in ("weak", "strong"):
            for layout in ("data", "fsdp"):
                messages = max((cell.messages for cell in cells if cell.place.layout == layout), default=0)
                for pod, count in accelerator.pods.items():
                    batch = settings.pods.strong_batch if mode == "strong" else settings.pods.weak_batch * count
                    if batch % count == 0:
                        step = _Step(accelerator, layout, count, batch // count, messages)
                        found.append(step.predict(base, share, settings.pods.overlap, pod, mode))
    return found


def _share(settings: ConfigDict, accelerator: Accelerator, cells: Sequence[Cell]) -> float:
    measured = [share_of_peak(cell) for cell in cells if cell.device_kind.lower() in accelerator.kinds]
    return float(np.median(measured)) if measured else settings.pods.share_of_peak


@dataclasses.dataclass(frozen=True)
class _Step:
    accelerator: Accelerator
    layout: str
    devices: int
    images: int  # of a device
    messages: int

    def predict(self, base: Cell, share: float, overlap: float, pod: str, mode: str) -> Prediction:
        work = base.flops / base.place.batch * self.images / (self.accelerator.peak_flops * share)
        traffic = base.moved_bytes / base.place.batch * self.images / self.accelerator.memory_bandwidth
        talk = self._talk(base.parameter_bytes)
        return Prediction(
            pod=pod,
            mode=mode,
            layout=self.layout,
            devices=self.devices,
            batch=self.images * self.devices,
            work=work,
            memory_traffic=traffic,
            talk=talk,
            seconds=max(work, traffic) + (1 - overlap) * talk,
            fits=base.peak_bytes / base.place.batch * self.images < self.accelerator.memory,
        )

    def _talk(self, size: int) -> float:
        """Seconds of sending gradients and parameters of `size` bytes around."""
        if self.devices == 1:
            return 0.0
        near = min(self.devices, self.accelerator.island)
        far = -(-self.devices // near)
        rounds = 2 if self.layout == "data" else 3
        seconds = rounds * size * (near - 1) / near / self.accelerator.fast_link
        seconds += rounds * size / near * (far - 1) / far / self.accelerator.slow_link
        return seconds + self.messages * math.log2(self.devices) * self.accelerator.latency
