"""A cell of the study: one training step on so many devices, timed and counted, in a file of its own."""

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.files import write_json
from faceflax.scaling import layouts
from faceflax.scaling.traffic import Traffic


@dataclasses.dataclass(frozen=True)
class Place:
    """Which step a cell is of.

    Attributes:
      mode: "strong" (the batch is the same on any number of devices) or "weak" (a device's share is).
      layout: see `layouts`.
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

    @property
    def shards(self) -> int:
        """Over how many devices the parameters are split; 1: they are whole on each."""
        return layouts.shards(self.layout, self.devices)


@dataclasses.dataclass(frozen=True)
class Cell:
    """What was measured there.

    Counted is the step as accelerators run it, see `parallel.Costs`; `seconds` and `peak_bytes` are those of the
    program that ran.

    Attributes:
      place: which step.
      device_kind: JAX's name of the devices; "cpu" where they were simulated.
      dtype: of the activations.
      seconds: of a step, one timing a round.
      flops: operations on all devices.
      model_flops: those of the network alone, see `measuring.model_flops`.
      moved_bytes: read and written by one device's operations.
      peak_bytes: held at once on one device.
      accelerator_bytes: the same as accelerators run it.
      traffic: the collectives of one device's program, by kind.
      parameter_bytes: of the network that restores, whole; a GAN's discriminator is not in it.
      commit: of the checkout that measured; "" outside one.
    """

    place: Place
    device_kind: str
    dtype: str
    seconds: tuple[float, ...]
    flops: float
    model_flops: float
    moved_bytes: float
    peak_bytes: float
    accelerator_bytes: float
    traffic: dict[str, Traffic]
    parameter_bytes: int
    commit: str

    @property
    def sent_bytes(self) -> float:
        """By one device, in all collectives."""
        return sum(each.sent_bytes for each in self.traffic.values())

    @property
    def messages(self) -> int:
        """How many collectives there are."""
        return sum(each.count for each in self.traffic.values())

    @property
    def median_seconds(self) -> float:
        """Of a step."""
        return float(np.median(self.seconds))

    @property
    def images_per_device(self) -> float:
        """In a step."""
        return self.place.batch / self.place.devices


def by_kind(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Returns the cells of each kind of device, kinds in order: what one kind takes says nothing of another."""
    found: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.device_kind):
        found.setdefault(cell.device_kind, []).append(cell)
    return found


def write(folder: Path, cell: Cell, made_from: dict[str, Any]) -> None:
    """Writes the cell with what it was made from; raises `UserError` when the disk does not take it."""
    path = _path(folder, cell.device_kind, cell.place)
    write_json(path, {"cell": dataclasses.asdict(cell), "made_from": made_from})


def read(folder: Path, device_kind: str, place: Place, made_from: dict[str, Any]) -> Cell | None:
    """Returns the cell that `write` wrote of `place` on such devices; None where none was made from this.

    What is not in `made_from` may be anything.
    """
    path = _path(folder, device_kind, place)
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    fields = kept["cell"]
    if not made_from.items() <= kept["made_from"].items() or fields["place"] != dataclasses.asdict(place):
        return None
    traffic = {kind: Traffic(*numbers) for kind, numbers in fields.pop("traffic").items()}
    return Cell(Place(**fields.pop("place")), seconds=tuple(fields.pop("seconds")), traffic=traffic, **fields)


def kinds(folder: Path) -> list[str]:
    """Returns the kinds of devices that cells of the study in `folder` are of."""
    kept = [next(each.glob("*.json"), None) for each in sorted((folder / "cells").glob("*/"))]
    return [json.loads(path.read_text(encoding="utf-8"))["cell"]["device_kind"] for path in kept if path]


def number(folder: Path) -> int:
    """Returns how many cells there are in `folder`, whatever study they are of."""
    return len(list((folder / "cells").glob("*/*.json")))


def _path(folder: Path, device_kind: str, place: Place) -> Path:
    return folder / "cells" / re.sub(r"[^a-z0-9]+", "_", device_kind.lower()) / f"{place.name}.json"
