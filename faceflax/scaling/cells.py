"""A cell of the study: one training step on so many devices, timed and counted, in a file of its own."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from faceflax.files import write_json
from faceflax.scaling.traffic import Traffic


@dataclasses.dataclass(frozen=True)
class Place:
    """Which step a cell is of.

    Attributes:
      mode: "strong" (the batch is the same on any number of devices) or "weak" (a device's share is).
      layout: one of `settings.LAYOUTS`.
      devices: how many.
      batch: images a step, over all devices.
    """

    mode: str
    layout: str
    devices: int
    batch: int

    @property
    def name(self) -> str:
        """The cell's name in files and messages: "weak-fsdp-8"."""
        return f"{self.mode}-{self.layout}-{self.devices}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """What was measured there.

    Attributes:
      place: which step.
      device_kind: JAX's name of the devices; "cpu" where they were simulated.
      seconds: of a step, one timing a round.
      flops: XLA's count for a step, on all devices.
      moved_bytes: read and written by one device's operations.
      peak_bytes: held at once on one device.
      traffic: the collectives of one device's program, by kind.
      parameter_bytes: of the trained networks, whole.
    """

    place: Place
    device_kind: str
    seconds: tuple[float, ...]
    flops: float
    moved_bytes: float
    peak_bytes: float
    traffic: dict[str, Traffic]
    parameter_bytes: int

    @property
    def sent_bytes(self) -> int:
        """Of all collectives' results on one device."""
        return sum(each.result_bytes for each in self.traffic.values())

    @property
    def messages(self) -> int:
        """How many collectives there are."""
        return sum(each.count for each in self.traffic.values())


def write(folder: Path, cell: Cell, made_from: dict[str, Any]) -> None:
    """Writes the cell with what it was made from; raises `UserError` when the disk does not take it."""
    write_json(_path(folder, cell.place), {"cell": dataclasses.asdict(cell), "made_from": made_from})


def read(folder: Path, place: Place, made_from: dict[str, Any]) -> Cell | None:
    """Returns the cell that `write` wrote of `place`; None where there is none that was made from this."""
    path = _path(folder, place)
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["made_from"] != made_from or kept["cell"]["place"] != dataclasses.asdict(place):
        return None
    fields = kept["cell"]
    traffic = {kind: Traffic(*numbers) for kind, numbers in fields.pop("traffic").items()}
    return Cell(Place(**fields.pop("place")), seconds=tuple(fields.pop("seconds")), traffic=traffic, **fields)


def _path(folder: Path, place: Place) -> Path:
    return folder / "cells" / f"{place.name}.json"
