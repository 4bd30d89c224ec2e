"""Step times on pods that are not here: the counts of the measured cells, in the time that their devices took.

Where cells were measured on a pod's own kind of device, the model of a step that is fitted to them gives the seconds.
Where none were, the makers' data sheets do. Every prediction says which.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from ml_collections import ConfigDict

from faceflax.scaling import cells as cells_lib
from faceflax.scaling import fitting, hardware, layouts
from faceflax.scaling.cells import Cell
from faceflax.scaling.fitting import Count, Fit
from faceflax.scaling.hardware import Accelerator

LAYOUTS = ("data", "fsdp")
"""Those that steps are predicted for.

Of two axes, and of split images, it is not told how what devices send would divide over a pod's links.
"""

COUNTED: dict[str, tuple[float, Callable[[Cell], float]]] = {
    "GFLOP": (1e9, lambda cell: cell.flops / cell.place.devices),
    "GB moved": (1e9, lambda cell: cell.moved_bytes),
    "MB at once": (1e6, lambda cell: cell.accelerator_bytes),
}
"""What is counted of one device's step: how large its unit is, and the count of a cell."""


def mfu(cell: Cell) -> float:
    """The network's own operations by what the devices could do in that time; NaN for devices of unknown peak."""
    peak = hardware.peak(cell.device_kind, cell.dtype)
    return cell.model_flops / (cell.median_seconds * peak * cell.place.devices) if peak else math.nan


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A step on a pod.

    Attributes:
      pod, mode, layout, devices, batch: which step.
      work: seconds; by a fit, with the launch and the memory traffic.
      memory_traffic: seconds, by the data sheet; NaN where the fit has them in the work.
      talk: seconds of what devices send each other.
      seconds: of the step.
      peak_bytes: held at once on one device.
      fits: whether that is less than a device has.
      work_from, talk_from: "fit" or "data sheet".
      unseen_error: of the fit, see `Fit.held_out`; NaN for the data sheet, which was held against nothing.
    """

    pod: str
    mode: str
    layout: str
    devices: int
    batch: int
    work: float
    memory_traffic: float
    talk: float
    seconds: float
    peak_bytes: float
    fits: bool
    work_from: str
    talk_from: str
    unseen_error: float

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.batch / self.seconds


def predict(settings: ConfigDict, cells: Sequence[Cell]) -> list[Prediction]:
    """Returns steps on the pods of every accelerator, weak and strong, for "data" and, where it was measured, "fsdp".

    Talk is that of rings within an island and between islands: of n devices each sends (n-1)/n of the parameters'
    bytes as many times as the measured steps did; where no step of several devices was measured, twice for "data"
    (an all-reduce of the gradients) and three times for "fsdp" (parameters gathered twice, gradients scattered). By
    a fit it takes its seconds for a byte and for a message, and between islands those of the data sheet. By the
    data sheet a step takes the longer of its work, at `settings.pods.share_of_peak`, and its memory traffic, and
    what of the talk does not hide behind them.
    """
    found = []
    for accelerator in hardware.ACCELERATORS:
        device = _device(accelerator, cells_lib.by_kind(cells), settings)
        for mode in ("weak", "strong"):
            for layout in device.layouts:
                for pod, count in accelerator.pods.items():
                    batch = settings.pods.strong_batch if mode == "strong" else settings.pods.weak_batch * count
                    if batch % count == 0:
                        found.append(device.predict(pod, mode, layout, count, batch))
    return found


def counted_on(accelerator: Accelerator, kinds: Mapping[str, Sequence[Cell]]) -> str:
    """Returns the kind of device whose cells the counts of a step are from: the accelerator's own, else the first."""
    own = [kind for kind in kinds if kind.lower() in accelerator.chip.kinds and tells_counts(kinds[kind])]
    return own[0] if own else next(kind for kind, cells in kinds.items() if tells_counts(cells))


def tells_counts(cells: Sequence[Cell]) -> bool:
    """Whether cells of one kind of device tell what grows with the images from what does not."""
    return len({cell.images_per_device for cell in fitting.of_whole_images(cells)}) > 1


def _device(accelerator: Accelerator, kinds: Mapping[str, Sequence[Cell]], settings: ConfigDict) -> "_Device":
    kind = counted_on(accelerator, kinds)
    cells = kinds[kind]
    return _Device(
        accelerator,
        fit=fitting.seconds(cells) if kind.lower() in accelerator.chip.kinds else None,
        counts=[fitting.count(cells, value) for _, value in COUNTED.values()],
        messages={
            layout: max(cell.messages for cell in cells if cell.place.layout == layout)
            for layout in LAYOUTS
            if any(cell.place.layout == layout for cell in cells)
        },
        rings={layout: _rings(cells, layout) for layout in LAYOUTS},
        parameter_bytes=cells[0].parameter_bytes,
        rate=accelerator.chip.peak(cells[0].dtype) * settings.pods.share_of_peak,
        overlap=settings.pods.overlap,
    )


def _rings(cells: Sequence[Cell], layout: str) -> float:
    """How often the parameters' bytes go around in a step: the most of those measured on several devices.

    Where none was measured it is what one network takes; a GAN, whose discriminator is not counted, takes more.
    """
    sent = [
        cell.sent_bytes / (cell.parameter_bytes * (cell.place.devices - 1) / cell.place.devices)
        for cell in cells
        if cell.place.layout == layout and cell.place.devices > 1
    ]
    return max(sent, default=2.0 if layout == "data" else 3.0)


@dataclasses.dataclass(frozen=True)
class _Device:
    """What one device of an accelerator does in a step, and how fast."""

    accelerator: Accelerator
    fit: Fit | None
    counts: list[Count]  # as in `COUNTED`
    messages: dict[str, int]
    rings: dict[str, float]
    parameter_bytes: int
    rate: float  # operations a second, by the data sheet
    overlap: float

    @property
    def layouts(self) -> list[str]:
        return list(self.messages)

    def predict(self, pod: str, mode: str, layout: str, devices: int, batch: int) -> Prediction:
        flops, moved, held = (count.at(layouts.shards(layout, devices), batch / devices) for count in self.counts)
        talk, talk_from = self._talk(layout, devices)
        if self.fit:
            work, memory_traffic = self.fit.launch + self.fit.per_flop * flops, math.nan
            seconds = work + talk
        else:
            work, memory_traffic = flops / self.rate, moved / self.accelerator.memory_bandwidth
            seconds = max(work, memory_traffic) + (1 - self.overlap) * talk
        return Prediction(
            pod,
            mode,
            layout,
            devices,
            batch,
            work=work,
            memory_traffic=memory_traffic,
            talk=talk,
            seconds=seconds,
            peak_bytes=held,
            fits=held < self.accelerator.memory,
            work_from="fit" if self.fit else "data sheet",
            talk_from=talk_from,
            unseen_error=self.fit.held_out if self.fit else math.nan,
        )

    def _talk(self, layout: str, devices: int) -> tuple[float, str]:
        """Seconds of sending gradients and parameters around, and where they are from."""
        sheet, fit = self.accelerator, self.fit if self.fit and self.fit.knows_talk else None
        source = "fit" if fit else "data sheet"
        if devices == 1:
            return 0.0, source
        near = min(devices, sheet.island)
        far = -(-devices // near)
        size = self.rings[layout] * self.parameter_bytes
        seconds = size * (near - 1) / near * (fit.per_byte if fit else 1 / sheet.fast_link)
        seconds += size / near * (far - 1) / far / sheet.slow_link
        latency = fit.per_message if fit else sheet.latency * math.log2(devices)
        return seconds + self.messages[layout] * latency, source
