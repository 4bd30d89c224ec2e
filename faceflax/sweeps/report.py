"""What a sweep found: its trials ranked, as tables and as a picture."""

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faceflax.evaluation.benchmark import plots
from faceflax.evaluation.statistics import Interval, bootstrap
from faceflax.evaluation.tables import Table, to_markdown
from faceflax.files import atomic_path, write_json, write_text
from faceflax.sweeps.file import Sweep
from faceflax.sweeps.store import Result

SEED = "config.seed"
"""Trials that differ in this parameter alone are repetitions of one point: they share a row and make its interval."""


def write(sweep: Sweep, results: Sequence[Result], folder: Path, manifest: dict[str, Any]) -> list[Path]:
    """Writes `trials.csv`, `ranking.md`, `parallel.png` and `manifest.json` into `folder`; returns their paths.

    The picture is left out while fewer than two trials have a value.
    """
    write_text(folder / "trials.csv", _csv(sweep, results))
    write_text(folder / "ranking.md", to_markdown(ranking(sweep, results)))
    write_json(folder / "manifest.json", manifest)
    written = [folder / name for name in ("trials.csv", "ranking.md", "manifest.json")]
    known = [result for result in results if result.value is not None and math.isfinite(result.value)]
    if len(known) > 1:
        with atomic_path(folder / "parallel.png") as path:
            path.write_bytes(_picture(sweep, known))
        written.append(folder / "parallel.png")
    return written


def ranking(sweep: Sweep, results: Sequence[Result]) -> Table:
    """Returns a row for each point, best first; those without a complete trial last.

    The interval is the bootstrap's over the seeds of a point, and left out where it has one.
    """
    names = [name for name in sweep.space.parameters if name != SEED]
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(_text(result.point[name]) for name in names), []).append(result)
    rows = sorted(groups.items(), key=lambda group: _order(sweep, group[1]))
    header = [
        "rank",
        *(name.removeprefix("config.") for name in names),
        sweep.metric,
        "95% interval",
        "trials",
        "state",
    ]
    cells = [
        [str(rank), *point, *_value(group), str(len(group)), ", ".join(sorted({result.state for result in group}))]
        for rank, (point, group) in enumerate(rows, 1)
    ]
    aim = "most" if sweep.maximize else "least"
    return Table(f"{sweep.name}: {len(results)} trials by {sweep.metric}, {aim} first", header, cells)


def _complete(group: Sequence[Result]) -> list[float]:
    return [result.value for result in group if result.state == "complete"]


def _order(sweep: Sweep, group: Sequence[Result]) -> tuple[bool, float, int]:
    values = _complete(group)
    mean = statistics.fmean(values) if values else math.nan
    return not values, (-mean if sweep.maximize else mean) if values else 0.0, group[0].slot


def _value(group: Sequence[Result]) -> tuple[str, str]:
    values = _complete(group)
    if not values:
        return "", ""
    interval: Interval = bootstrap(values)
    bounds = f"[{interval.low:.4g}, {interval.high:.4g}]" if len(values) > 1 else ""
    return f"{interval.mean:.4g}", bounds


def _csv(sweep: Sweep, results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *sweep.space.parameters, sweep.metric, "state", "reason"])
    for result in results:
        point = [result.point[name] for name in sweep.space.parameters]
        value = "" if result.value is None else repr(result.value)
        writer.writerow([result.slot, *point, value, result.state, result.reason])
    return text.getvalue()


def _picture(sweep: Sweep, results: Sequence[Result]) -> bytes:
    names = list(sweep.space.parameters)
    columns = {name.removeprefix("config."): [result.point[name] for result in results] for name in names}
    columns[sweep.metric] = [result.value for result in results]
    places, axes = [], {}
    for name, values in columns.items():
        on_axis, ticks = _axis(values)
        places.append(on_axis)
        axes[name] = (min(on_axis), max(on_axis), ticks)
    order = sorted(results, key=lambda result: result.value, reverse=not sweep.maximize)
    ranks = {result.slot: number / (len(order) - 1) for number, result in enumerate(order)}
    lines = [(line, ranks[result.slot]) for line, result in zip(zip(*places, strict=True), results, strict=True)]
    return plots.parallel_coordinates(axes, lines)


def _axis(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where values lie on an axis, and its ticks: numbers in proportion, or by their logarithm; words evenly."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        words = sorted({_text(value) for value in values})
        return [words.index(_text(value)) for value in values], list(enumerate(words))
    is_log = min(values) > 0 and max(values) >= 20 * min(values)
    scale = math.log if is_log else float
    shown = sorted(set(values)) if len(set(values)) <= 6 else [min(values), max(values)]
    return [scale(value) for value in values], [(scale(value), _text(value)) for value in shown]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
