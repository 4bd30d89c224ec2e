"""The benchmark's numbers as tables for people, and as CSV with everything. Equal cells give equal bytes."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.baselines import BASELINES
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.analysis import METRICS, Difference, Results
from faceflax.evaluation.tables import Table, fixed

NOT_SIGNIFICANT = "≈"


def by_metric(results: Results) -> dict[str, Table]:
    """Returns a table for each metric that any task has: rows are tasks, columns methods, means over seeds."""
    made = {metric: _metric_table(results, metric) for metric in results.metrics}
    return {metric: table for metric, table in made.items() if table.rows}


def _metric_table(results: Results, metric: str) -> Table:
    tasks = [task for task in results.tasks if np.isfinite(results.mean("input", [task], metric))]
    arms = list(results.settings.arms)
    rows = [_row(results, metric, str(task), BASELINES[task.name].name, [task]) for task in tasks]
    if len(tasks) > 1:
        rows.append(_row(results, metric, f"mean of {len(tasks)}", "", tasks))
    header = ["task", "classical method", *settings_lib.BESIDE, *arms]
    compared = results.settings.compare.gan
    if compared:
        header.append(f"{compared} minus {results.reference}")
    return Table(METRICS[metric].title, header, rows)


def _row(results: Results, metric: str, title: str, classical: str, tasks: Sequence[Task]) -> list[str]:
    row = [title, classical]
    row += [_number(metric, results.mean(method, tasks, metric)) for method in settings_lib.BESIDE]
    row += [_marked(results, metric, arm, tasks) for arm in results.settings.arms]
    if results.settings.compare.gan:
        found = results.difference(results.settings.compare.gan, results.reference, tasks, metric)
        row.append(interval(metric, found))
    return row


def _marked(results: Results, metric: str, arm: str, tasks: Sequence[Task]) -> str:
    """The arm's mean, marked where it cannot be told from the reference's; what equals it exactly needs no mark."""
    text = _number(metric, results.mean(arm, tasks, metric))
    if arm == results.reference:
        return text
    found = results.difference(arm, results.reference, tasks, metric)
    if found is None or np.isnan(found.low) or found.low == found.high == 0:
        return text
    return text if found.is_significant else f"{text} {NOT_SIGNIFICANT}"


def _number(metric: str, value: float) -> str:
    return fixed(value * METRICS[metric].scale, METRICS[metric].decimals)


def interval(metric: str, found: Difference | None) -> str:
    """Returns "mean [low, high]", with several seeds followed by "(least..most)" of their means."""
    if found is None:
        return ""
    text = _number(metric, found.mean)
    if not np.isnan(found.low):
        text += f" [{_number(metric, found.low)}, {_number(metric, found.high)}]"
    if len(found.by_seed) > 1:
        text += f" ({_number(metric, min(found.by_seed))}..{_number(metric, max(found.by_seed))})"
    return text


def brief(results: Results) -> Table:
    """Returns a table narrow enough for a console: PSNR, and of each arm the perceptual distance if it was measured."""
    arms = list(results.settings.arms)
    has_distance = "perceptual" in results.metrics
    header = ["task", *settings_lib.BESIDE, *arms, *(f"{arm}, distance" for arm in arms if has_distance)]
    rows = []
    for task in results.tasks:
        row = [
            str(task),
            *(_number("psnr", results.mean(method, [task], "psnr")) for method in (*settings_lib.BESIDE, *arms)),
        ]
        row += [_number("perceptual", results.mean(arm, [task], "perceptual")) for arm in arms if has_distance]
        rows.append(row)
    what = "PSNR in dB, and perceptual distance (less is better)" if has_distance else "PSNR in dB"
    return Table(f"{what}; {len(results.clean.index)} images, {len(results.settings.seeds)} seed(s)", header, rows)


def curve(results: Results, tasks: Sequence[Task]) -> Table | None:
    """Returns the occlusion curve as a table: inside the hole, over its share of the area; None when there is none."""
    if not tasks:
        return None
    metrics = [name for name in ("hole_psnr", "perceptual", "identity", "kid") if name in results.metrics]
    methods = (*settings_lib.BESIDE, *results.settings.arms)
    rows = [
        [f"{task.severity:g} %", method, *(_number(metric, results.mean(method, [task], metric)) for metric in metrics)]
        for task in tasks
        for method in methods
    ]
    return Table("Occlusion curve", ["hole", "method", *(METRICS[metric].title for metric in metrics)], rows)


def fidelity(results: Results) -> Table | None:
    """Returns the networks between GAN and CNN as a table, means over the tasks; None when there are none."""
    tasks = settings_lib.fidelity_tasks(results.settings)
    methods = results.fidelity_methods()
    if not methods or not tasks:
        return None
    metrics = [name for name in ("psnr", "ssim", "perceptual", "identity", "kid") if name in results.metrics]
    rows = [
        [
            f"{value:g}",
            *(_number(name, float(np.mean([results.values(m, t, name) for t in tasks]))) for name in metrics),
        ]
        for value, m in methods.items()
    ]
    title = f"Fidelity, {over(tasks)}, seed {results.settings.seeds[0]}"
    return Table(title, ["fidelity", *(METRICS[name].title for name in metrics)], rows)


def over(tasks: Sequence[Task]) -> str:
    """Says what a number that stands for all of `tasks` is."""
    return str(tasks[0]) if len(tasks) == 1 else f"mean of {len(tasks)} tasks"


def scores_csv(results: Results) -> str:
    """Returns one row a task and method (each seed its own), with the mean of everything measured."""
    rows = []
    for (method, task), cell in results.cells.items():
        row = {"task": task.name, "severity": f"{task.severity:g}", "method": method, "images": len(cell.index)}
        row["failures"] = int(cell.failed.sum())
        rows.append(row | {name: fixed(results.values(method, task, name), 6) for name in results.metrics})
    return to_csv(rows)


def differences_csv(results: Results) -> str:
    """Returns one row a task, metric and arm: its difference from the reference, interval, spread."""
    rows = []
    groups = [(task.name, f"{task.severity:g}", [task]) for task in results.tasks] + [("all", "", results.tasks)]
    for name, severity, tasks in groups:
        for metric in results.metrics:
            for arm in (*settings_lib.BESIDE, *results.settings.arms):
                found = results.difference(arm, results.reference, tasks, metric) if arm != results.reference else None
                if found is None:
                    continue
                row = {"task": name, "severity": severity, "metric": metric, "arm": arm, "minus": results.reference}
                numbers = (found.mean, found.low, found.high, min(found.by_seed), max(found.by_seed))
                names = ("mean", "low", "high", "least_seed", "most_seed")
                row |= {key: fixed(value, 6) for key, value in zip(names, numbers, strict=True)}
                rows.append(row | {"significant": "" if np.isnan(found.low) else int(found.is_significant)})
    return to_csv(rows)


def to_csv(rows: Iterable[dict]) -> str:
    """Returns rows of equal keys as CSV."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
