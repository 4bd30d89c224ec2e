"""The study's report: what was measured, what is predicted and on what assumptions, and the laws."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from faceflax.evaluation.benchmark import plots
from faceflax.evaluation.benchmark.tables import to_csv
from faceflax.evaluation.tables import Table, fixed, to_markdown
from faceflax.files import atomic_path, write_json, write_text
from faceflax.scaling import hardware, laws, prediction, traffic
from faceflax.scaling.cells import Cell
from faceflax.scaling.laws import Law, Point
from faceflax.scaling.prediction import Fit, Prediction


def write(
    settings: ConfigDict, cells: Sequence[Cell], points: Sequence[Point], folder: Path, manifest: dict[str, Any]
) -> list[Path]:
    """Writes `report.md`, the numbers as CSV, the plots and `manifest.json` into `folder`; returns their paths."""
    predictions = prediction.predict(settings, cells)
    texts = {
        "report.md": _markdown(settings, cells, predictions, points),
        "cells.csv": _csv([_cell_row(cell, cells) for cell in cells]),
        "predictions.csv": _csv([dataclasses.asdict(each) for each in predictions]),
    }
    pictures = {"efficiency.png": _efficiency_plot(cells)}
    if points:
        texts["points.csv"] = _csv([dataclasses.asdict(point) for point in points])
        pictures["laws.png"] = _laws_plot(points)
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, picture in pictures.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(picture)
    write_json(folder / "manifest.json", manifest)
    return [folder / name for name in (*texts, *pictures, "manifest.json")]


def _markdown(
    settings: ConfigDict, cells: Sequence[Cell], predictions: Sequence[Prediction], points: Sequence[Point]
) -> str:
    parts = ["# How training scales", "## Measured", _about(settings, cells)]
    parts += [to_markdown(measured(cells, mode)) for mode in ("strong", "weak")]
    parts += ["![efficiency](efficiency.png)", "## Predicted", assumptions(settings, cells)]
    parts += [to_markdown(fitted(prediction.fit(cells)))]
    parts += [to_markdown(predicted(predictions, mode)) for mode in ("weak", "strong")]
    if points:
        parts += ["## Size, images, compute", _ABOUT_LAWS, to_markdown(trainings(points))]
        parts += [to_markdown(law_table(points)), "![laws](laws.png)"]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _about(settings: ConfigDict, cells: Sequence[Cell]) -> str:
    kinds = sorted({cell.device_kind for cell in cells})
    size = settings.experiment.data.image_size
    text = (
        f"A training step at {size}x{size} on {', '.join(kinds)}: medians of {settings.rounds} timings of "
        f"{settings.steps} steps. Efficiency is by the step of one device: 1 where n devices take an nth of its time "
        "(strong), or the same time for n times the images (weak). Operations and bytes are XLA's count of the "
        "compiled step, those of one device but for GFLOP, which are all devices'."
    )
    if "cpu" not in kinds:
        return text
    return (
        f"{text} Devices of the kind cpu are simulated and share one computer's cores, so that there efficiency is "
        "what splitting the same work costs: by the time of all devices together."
    )


def efficiency(cell: Cell, cells: Sequence[Cell]) -> float:
    """The images a second and device, by those of one device; of simulated devices, which share cores, of all."""
    base = next(c for c in cells if c.place.mode == cell.place.mode and c.place.devices == 1)
    rates = [each.place.batch / prediction.median_seconds(each) for each in (cell, base)]
    return rates[0] / rates[1] / (1 if cell.device_kind == "cpu" else cell.place.devices)


def _cell_row(cell: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    row = dataclasses.asdict(cell.place) | {"device_kind": cell.device_kind}
    row |= {"seconds": prediction.median_seconds(cell), "fastest": min(cell.seconds), "slowest": max(cell.seconds)}
    row |= {"efficiency": efficiency(cell, cells), "share_of_peak": prediction.share_of_peak(cell)}
    row |= {name: getattr(cell, name) for name in ("flops", "moved_bytes", "peak_bytes", "parameter_bytes")}
    for kind in traffic.KINDS:
        count, result_bytes = cell.traffic.get(kind, (0, 0))
        row |= {f"{kind}, count": count, f"{kind}, bytes": result_bytes}
    return row


def measured(cells: Sequence[Cell], mode: str) -> Table:
    """Returns the cells of "strong" or "weak" scaling as a table."""
    header = ["layout", "devices", "batch", "ms", "images/s", "efficiency", "share of peak", "GFLOP"]
    header += ["GB moved", "MiB at once", "MB in collectives", "collectives"]
    rows = [
        [
            *(cell.place.layout, str(cell.place.devices), str(cell.place.batch)),
            fixed(1e3 * prediction.median_seconds(cell), 1),
            fixed(cell.place.batch / prediction.median_seconds(cell), 1),
            fixed(efficiency(cell, cells), 2),
            fixed(prediction.share_of_peak(cell), 3),
            fixed(cell.flops / 1e9, 1),
            fixed(cell.moved_bytes / 1e9, 2),
            fixed(cell.peak_bytes / 2**20, 0),
            fixed(cell.sent_bytes / 1e6, 1),
            ", ".join(f"{found.count} {kind}" for kind, found in sorted(cell.traffic.items())),
        ]
        for cell in cells
        if cell.place.mode == mode
    ]
    return Table(f"{mode.capitalize()} scaling", header, rows)


def fitted(fit: Fit) -> Table:
    """Returns the fitted model of a step as a table."""
    header = ["launch, ms", "ns a GFLOP", "ns a MB sent", "us a message", "mean error", "error on most devices, unseen"]
    numbers = [fixed(1e3 * fit.launch, 2), f"{fit.per_flop * 1e18:.4g}", f"{fit.per_byte * 1e15:.4g}"]
    numbers += [fixed(1e6 * fit.per_message, 1), *(f"{value:.1%}" for value in (fit.error, fit.held_out))]
    return Table("The measured steps, fitted: launch + operations + bytes sent + messages", header, [numbers])


def assumptions(settings: ConfigDict, cells: Sequence[Cell]) -> str:
    """Returns what the predictions take for granted, in words."""
    pods = settings.pods
    lines = [
        f"Predictions take the operations, bytes and memory of an image from the weak cell on one device "
        f"({cells[0].device_kind}), and these for granted:",
        "",
        f"- a device works at {pods.share_of_peak:.0%} of its peak in bfloat16, or at the share measured above where "
        "it is of the same kind;",
        "- a step takes the longer of its work and its memory traffic, which is XLA's count on the devices measured: "
        "a compiler that fuses more moves less;",
        f"- {pods.overlap:.0%} of what devices send each other hides behind their work;",
        "- gradients and parameters are float32 and go round in rings, within an island first; a latency for each "
        "doubling of the devices and each collective of the compiled step;",
        "- input keeps up, and nobody waits for a slower device.",
        "",
    ]
    lines += [
        f"- {each.name}: {each.peak_flops / 1e12:.0f} TFLOP/s, {each.memory_bandwidth / 1e12:.2f} TB/s, "
        f"{each.memory / 1e9:.0f} GB, islands of {each.island} at {each.fast_link / 1e9:.0f} GB/s, "
        f"{each.slow_link / 1e9:.0f} GB/s between them, {1e6 * each.latency:.0f} us a message"
        for each in hardware.ACCELERATORS
    ]
    return "\n".join(lines)


def predicted(predictions: Sequence[Prediction], mode: str) -> Table:
    """Returns the predictions of "strong" or "weak" scaling as a table."""
    header = ["pod", "layout", "devices", "batch", "work, ms", "memory, ms", "talk, ms", "step, ms", "images/s"]
    rows = [
        [
            *(each.pod, each.layout, str(each.devices), str(each.batch)),
            *(fixed(1e3 * value, 2) for value in (each.work, each.memory_traffic, each.talk, each.seconds)),
            fixed(each.images_per_second, 0) if each.fits else "does not fit into memory",
        ]
        for each in predictions
        if each.mode == mode
    ]
    return Table(f"{mode.capitalize()} scaling, predicted", header, rows)


_ABOUT_LAWS = (
    "The loss is the geometric mean of the squared error over validation images and tasks, 10^(-PSNR/10). Every "
    "validation of every training is a point; the learning rate is constant and parameters are averaged, so that each "
    "moment may stand for the end of a training of its own. Intervals are the 95% bootstrap's over trainings. `_data` "
    "with a number is a training on that percentage of the faces, and in no law."
)


def trainings(points: Sequence[Point]) -> Table:
    """Returns the last validation of every training as a table."""
    last = {point.run: point for point in sorted(points, key=lambda point: point.images)}
    rows = [
        [
            *(run, fixed(point.parameters / 1e6, 2), str(point.images), fixed(point.flops / 1e15, 3)),
            *(fixed(-10 * np.log10(point.loss), 2), f"{point.loss:.5f}"),
        ]
        for run, point in sorted(last.items(), key=lambda item: (item[1].parameters, item[0]))
    ]
    header = ["training", "parameters, M", "images", "PFLOP", "PSNR, dB", "loss"]
    return Table("The trainings at their end", header, rows)


def law_table(points: Sequence[Point]) -> Table:
    """Returns the fitted laws as a table."""
    chosen = [point for point in points if point.is_whole]
    found = {
        "scale x PFLOP^-exponent (frontier)": laws.of_compute(chosen),
        "floor + a x M parameters^-alpha + b x thousand images^-beta": laws.of_size_and_images(chosen),
    }
    header = ["loss =", "numbers [95% interval]", "error of the logarithm"]
    return Table("Laws", header, [[name, _numbers(law), fixed(law.error, 4)] for name, law in found.items()])


def _numbers(law: Law) -> str:
    parts = [f"{name} {value:.4g} [{law.low[name]:.4g}, {law.high[name]:.4g}]" for name, value in law.numbers.items()]
    return "; ".join(parts)


def _efficiency_plot(cells: Sequence[Cell]) -> bytes:
    panels = {}
    for mode in ("strong", "weak"):
        of_mode = [cell for cell in cells if cell.place.mode == mode]
        base = [cell for cell in of_mode if cell.place.devices == 1]
        layouts = dict.fromkeys(cell.place.layout for cell in of_mode if cell.place.devices > 1)
        panels[f"efficiency, {mode}"] = {
            layout: [
                (cell.place.devices, efficiency(cell, cells))
                for cell in [*base, *(c for c in of_mode if c.place.layout == layout and c.place.devices > 1)]
            ]
            for layout in layouts or {"data": None}
        }
    return plots.lines(panels, "devices")


def _laws_plot(points: Sequence[Point]) -> bytes:
    runs = dict.fromkeys(point.run for point in points)
    curves = {run: [(p.flops / 1e15, p.loss) for p in points if p.run == run] for run in runs}
    chosen = [point for point in points if point.is_whole]
    best, law = laws.frontier(chosen), laws.of_compute(chosen).numbers
    curves["law"] = [(p.flops / 1e15, law["scale"] * (p.flops / 1e15) ** -law["exponent"]) for p in best]
    return plots.trade_off({"loss by compute": curves}, "PFLOP", "loss")


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    return to_csv({name: f"{v:.8g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)
