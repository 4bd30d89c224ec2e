"""The study's report: what was measured, what is predicted and on what assumptions, and the laws."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.evaluation.benchmark import plots
from faceflax.evaluation.tables import to_markdown
from faceflax.files import atomic_path, write_json, write_text
from faceflax.scaling import cells as cells_lib
from faceflax.scaling import hardware, laws, prediction, tables
from faceflax.scaling.cells import Cell
from faceflax.scaling.laws import Point
from faceflax.scaling.prediction import Prediction


def check(cells: Sequence[Cell]) -> None:
    """Raises `UserError` when the cells are too few for a report."""
    alone = cells_lib.by_kind(cell for cell in cells if cell.place.devices == 1)
    if not any(map(prediction.tells_counts, alone.values())):
        raise UserError(
            "nothing was measured on one device, which efficiencies are told by; put 1 into config.counts, and where "
            "several processes share the devices, run the command on one of them as well, with the same --workdir"
        )


def write(
    settings: ConfigDict, cells: Sequence[Cell], points: Sequence[Point], folder: Path, manifest: dict[str, Any]
) -> list[Path]:
    """Writes `report.md`, the numbers as CSV, the plots and `manifest.json` into `folder`; returns their paths."""
    predictions = prediction.predict(settings, cells)
    texts = {
        "report.md": _markdown(settings, cells, predictions, points),
        "cells.csv": tables.csv([tables.cell_row(cell, cells) for cell in cells]),
        "predictions.csv": tables.csv([dataclasses.asdict(each) for each in predictions]),
    }
    pictures = {"efficiency.png": _efficiency_plot(cells)}
    if points:
        texts["points.csv"] = tables.csv([dataclasses.asdict(point) for point in points])
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
    kinds = cells_lib.by_kind(cells)
    parts = ["# How training scales", "## Measured", _about(settings, cells)]
    for kind, found in kinds.items():
        parts += [to_markdown(tables.measured(found, mode, kind)) for mode in ("strong", "weak")]
    parts += ["![efficiency](efficiency.png)", "## Fitted", _ABOUT_FITS]
    parts += [to_markdown(tables.fitted(kinds)), to_markdown(tables.counted(kinds))]
    parts += ["## Predicted", assumptions(settings, cells)]
    parts += [to_markdown(tables.predicted(predictions, mode)) for mode in ("weak", "strong")]
    if points:
        parts += ["## Size, images, compute", _about_laws(settings), to_markdown(tables.trainings(points))]
        parts += [to_markdown(tables.law_table(points)), "![laws](laws.png)"]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _about(settings: ConfigDict, cells: Sequence[Cell]) -> str:
    size = settings.experiment.data.image_size
    dtypes = " and ".join(sorted({cell.dtype for cell in cells}))
    text = (
        f"A training step at {size}x{size} in {dtypes}: medians of {settings.rounds} timings of {settings.steps} "
        "steps. Efficiency is by the step of one device of the same kind: 1 where n devices take an nth of its time "
        "(strong), or the same time for n times the images (weak); a step that both tables have was measured once. The "
        "layout 4x2 has 4 devices along data and 2 along fsdp. Operations and bytes are XLA's count of the step as "
        "accelerators run it, those of one device but for GFLOP, which are all devices'; MiB at once are those of the "
        "program that ran; what is sent is what one device sends in rings. MFU is the network's own operations, three "
        "times those of restoring (of a GAN, its generator's), by the devices' peak in that dtype; the damage and what "
        "rematerialisation repeats do not count."
    )
    if all(cell.device_kind != "cpu" for cell in cells):
        return text
    return (
        f"{text} Devices of the kind cpu are simulated and share one computer's cores, so that there efficiency is "
        "what splitting the same work costs: by the time of all devices together. It comes out above 1 where a base "
        "of few images leaves the cores idle; that is no scaling. They damage images one by one in a loop, of which "
        "XLA would count one round: to be counted their steps are compiled once more, as accelerators run them."
    )


_ABOUT_FITS = (
    "A step on each kind of device: launch + operations + bytes sent + messages, every term at least 0. The last "
    "column is the error on the cells of most devices by a fit that has not seen them. What a device does and holds in "
    "a step as accelerators run it: whole + split / devices along fsdp + so much for each of its images. Steps that "
    "split images by rows (spatial) are in neither."
)


def assumptions(settings: ConfigDict, cells: Sequence[Cell]) -> str:
    """Returns what the predictions take for granted, in words."""
    pods, kinds = settings.pods, cells_lib.by_kind(cells)
    lines = [
        "What a step does, moves and holds is counted as above, in the dtype that was measured. Where steps were "
        'measured on the same kind of device ("fit"), the fit gives their seconds, and takes for granted:',
        "",
        "- launch and rates stay what they are in larger batches, and messages cost the same among more devices;",
        "- between islands the data sheet's links.",
        "",
        'Elsewhere ("data sheet") nothing was measured that the seconds could be held against, and they take for '
        "granted:",
        "",
        f"- a device works at {pods.share_of_peak:.0%} of its peak;",
        "- a step takes the longer of its work and its memory traffic, which is XLA's count on the devices measured: "
        "a compiler that fuses more moves less;",
        f"- {pods.overlap:.0%} of what devices send each other hides behind their work;",
        "- a latency for each doubling of the devices and each collective of the compiled step.",
        "",
        "Both: gradients and parameters are float32 and go round in rings, within an island first, as many times as in "
        "the steps measured on several devices (compiled for CPUs, fsdp sums gradients whole where other compilers "
        "scatter them, and so sends up to a third more); input keeps up, and nobody waits for a slower device. Meshes "
        "of two axes tell of what is held, and are not predicted themselves: how what they send divides over a pod's "
        "links is not modelled. Peaks in float32 are those of JAX's default: TF32 on a GPU, one pass of "
        "bfloat16 on a TPU.",
        "",
    ]
    for each in hardware.ACCELERATORS:
        kind = prediction.counted_on(each, kinds)
        rate = each.chip.peak(kinds[kind][0].dtype)
        lines.append(
            f"- {each.chip.name}, counted on {kind}: {rate / 1e12:.0f} TFLOP/s in {kinds[kind][0].dtype}, "
            f"{each.memory_bandwidth / 1e12:.2f} TB/s, {each.memory / 1e9:.0f} GB, islands of {each.island} at "
            f"{each.fast_link / 1e9:.0f} GB/s, {each.slow_link / 1e9:.0f} GB/s between them, "
            f"{1e6 * each.latency:.0f} us a message"
        )
    return "\n".join(lines)


def _about_laws(settings: ConfigDict) -> str:
    optim, train = settings.experiment.optim, settings.experiment.train
    return (
        "The loss is the geometric mean of the squared error over validation images and tasks, 10^(-PSNR/10). Every "
        f"size is trained for {train.duration} with {len({*settings.laws.seeds})} seeds, and every validation later "
        f"than {settings.laws.settled:g} warm-ups is a point; the learning rate is constant and parameters are "
        "averaged, so that each moment may stand for the end of a training of its own. Compute is the network's own: "
        f"three times the operations of restoring, by image. All sizes share one learning rate, {optim.lr:g}; with the "
        "best for each the exponents may differ. Intervals are the 95% bootstrap's over trainings."
    )


def _efficiency_plot(cells: Sequence[Cell]) -> bytes:
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    kinds = cells_lib.by_kind(cells)
    for mode in ("strong", "weak"):
        lines = panels[f"efficiency, {mode}"] = {}
        for kind, found in kinds.items():
            of_mode = [cell for cell in found if cell.place.mode == mode]
            base = [cell for cell in of_mode if cell.place.devices == 1]
            layouts = dict.fromkeys(cell.place.layout for cell in of_mode if cell.place.devices > 1)
            for layout in layouts or {"data": None}:
                several = [cell for cell in of_mode if cell.place.layout == layout and cell.place.devices > 1]
                name = layout if len(kinds) == 1 else f"{layout}, {kind}"
                lines[name] = [(cell.place.devices, tables.efficiency(cell, found)) for cell in (*base, *several)]
    return plots.lines(panels, "devices")


def _laws_plot(points: Sequence[Point]) -> bytes:
    runs = dict.fromkeys(point.run for point in points)
    curves = {run: [(p.flops / 1e15, p.loss) for p in points if p.run == run] for run in runs}
    if law := laws.of_compute(points):
        scale, exponent = law.numbers["scale"], law.numbers["exponent"]
        compute = [point.flops / 1e15 for point in laws.frontier(points)]
        curves["law"] = [(each, scale * each**-exponent) for each in compute]
    return plots.trade_off({"loss by compute": curves}, "PFLOP", "loss")
