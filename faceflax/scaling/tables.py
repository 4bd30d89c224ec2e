"""The study's tables: what was measured, fitted and predicted, and the laws."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceflax.evaluation.benchmark.tables import to_csv
from faceflax.evaluation.tables import Table, fixed
from faceflax.scaling import fitting, laws, prediction, traffic
from faceflax.scaling.cells import Cell
from faceflax.scaling.laws import Law, Point
from faceflax.scaling.prediction import Prediction


def efficiency(cell: Cell, cells: Sequence[Cell]) -> float:
    """The images a second and device, by those of one device; of simulated devices, which share cores, of all.

    NaN where one device of that kind was not measured.
    """
    alone = [
        c for c in cells if (c.device_kind, c.place.mode, c.place.devices) == (cell.device_kind, cell.place.mode, 1)
    ]
    if not alone:
        return np.nan
    rates = [each.place.batch / each.median_seconds for each in (cell, alone[0])]
    return rates[0] / rates[1] / (1 if cell.device_kind == "cpu" else cell.place.devices)


def cell_row(cell: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    """Returns everything measured in a cell, and its efficiency among `cells`."""
    row = vars(cell.place) | {"device_kind": cell.device_kind, "dtype": cell.dtype}
    row |= {"seconds": cell.median_seconds, "fastest": min(cell.seconds), "slowest": max(cell.seconds)}
    row |= {"efficiency": efficiency(cell, cells), "mfu": prediction.mfu(cell)}
    for name in ("flops", "model_flops", "moved_bytes", "peak_bytes", "accelerator_bytes", "parameter_bytes"):
        row[name] = getattr(cell, name)
    for kind in traffic.KINDS:
        count, sent_bytes = cell.traffic.get(kind, (0, 0.0))
        row |= {f"{kind}, count": count, f"{kind}, bytes sent": sent_bytes}
    return row | {"commit": cell.commit}


def measured(cells: Sequence[Cell], mode: str, kind: str) -> Table:
    """Returns the cells of "strong" or "weak" scaling, all of one kind of device, as a table."""
    header = ["layout", "devices", "batch", "ms", "images/s", "efficiency", "MFU", "GFLOP"]
    header += ["GB moved", "MiB at once", "MB sent", "collectives"]
    rows = [
        [
            *(cell.place.layout, str(cell.place.devices), str(cell.place.batch)),
            fixed(1e3 * cell.median_seconds, 1),
            fixed(cell.place.batch / cell.median_seconds, 1),
            fixed(efficiency(cell, cells), 2),
            fixed(prediction.mfu(cell), 3),
            fixed(cell.flops / 1e9, 1),
            fixed(cell.moved_bytes / 1e9, 2),
            fixed(cell.peak_bytes / 2**20, 0),
            fixed(cell.sent_bytes / 1e6, 1),
            ", ".join(f"{found.count} {name}" for name, found in sorted(cell.traffic.items())),
        ]
        for cell in cells
        if cell.place.mode == mode
    ]
    return Table(f"{mode.capitalize()} scaling on {kind}", header, rows)


def fitted(kinds: Mapping[str, Sequence[Cell]]) -> Table:
    """Returns the fitted model of a step on each kind of device as a table."""
    header = ["devices", "launch, ms", "ms a GFLOP", "us a MB sent", "us a message", "mean error", "unseen error"]
    rows = [
        [
            kind,
            fixed(1e3 * fit.launch, 2),
            *(f"{value:.4g}" for value in (fit.per_flop * 1e12, fit.per_byte * 1e12)),
            fixed(1e6 * fit.per_message, 1),
            *(_percent(value) for value in (fit.error, fit.held_out)),
        ]
        for kind, cells in kinds.items()
        if (fit := fitting.seconds(cells))
    ]
    return Table("The measured steps, fitted", header, rows)


def counted(kinds: Mapping[str, Sequence[Cell]]) -> Table:
    """Returns what is done, moved and held in a step on each kind of device, as a table."""
    rows = []
    for kind, cells in kinds.items():
        if prediction.tells_counts(cells):
            for name, (unit, value) in prediction.COUNTED.items():
                found = fitting.count(cells, value)
                numbers = [f"{number / unit:.4g}" for number in (found.whole, found.split, found.per_image)]
                rows.append([kind, name, *numbers, _percent(found.error)])
    header = ["devices", "of one device", "whole", "split", "an image", "mean error"]
    return Table("The counts, fitted", header, rows)


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


def predicted(predictions: Sequence[Prediction], mode: str) -> Table:
    """Returns the predictions of "strong" or "weak" scaling as a table."""
    header = ["pod", "layout", "devices", "batch", "work, ms", "memory, ms", "talk, ms", "step, ms", "images/s"]
    header += ["GB at once", "work from", "talk from", "unseen error"]
    rows = [
        [
            *(each.pod, each.layout, str(each.devices), str(each.batch)),
            *(fixed(1e3 * value, 2) for value in (each.work, each.memory_traffic, each.talk, each.seconds)),
            fixed(each.images_per_second, 0) if each.fits else "does not fit into memory",
            fixed(each.peak_bytes / 1e9, 2),
            *(each.work_from, each.talk_from, _percent(each.unseen_error)),
        ]
        for each in predictions
        if each.mode == mode
    ]
    return Table(f"{mode.capitalize()} scaling, predicted", header, rows)


def trainings(points: Sequence[Point]) -> Table:
    """Returns the last validation of every training as a table."""
    last = {point.run: point for point in sorted(points, key=lambda point: point.images)}
    rows = [
        [
            *(run, fixed(point.parameters / 1e6, 3), str(point.images), fixed(point.flops / 1e15, 3)),
            *(fixed(-10 * np.log10(point.loss), 2), f"{point.loss:.5f}"),
        ]
        for run, point in sorted(last.items(), key=lambda item: (item[1].parameters, item[0]))
    ]
    header = ["training", "parameters, M", "images", "PFLOP", "PSNR, dB", "loss"]
    return Table("The trainings at their end", header, rows)


def law_table(points: Sequence[Point]) -> Table:
    """Returns the fitted laws as a table; a law that too few points tell of has no numbers."""
    found = {
        "scale x PFLOP^-exponent (frontier)": laws.of_compute(points),
        "floor + a x M parameters^-alpha + b x thousand images^-beta": laws.of_size_and_images(points),
    }
    rows = [
        [name, *((_numbers(law), fixed(law.error, 4)) if law else ("too few points tell of it", ""))]
        for name, law in found.items()
    ]
    return Table("Laws", ["loss =", "numbers [95% interval]", "error of the logarithm"], rows)


def _numbers(law: Law) -> str:
    parts = [f"{name} {value:.4g} [{law.low[name]:.4g}, {law.high[name]:.4g}]" for name, value in law.numbers.items()]
    return "; ".join(parts)


def csv(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as CSV, numbers to eight digits."""
    return to_csv({name: f"{v:.8g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)
