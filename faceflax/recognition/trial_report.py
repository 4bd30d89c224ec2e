"""The report of a recognition trial: tables in every format, and the trade-off of both errors as plots (ROC, DET)."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import plots
from faceflax.evaluation.statistics import Interval
from faceflax.evaluation.tables import Table, fixed, to_latex, to_markdown
from faceflax.files import atomic_path, write_json, write_text
from faceflax.recognition import verification
from faceflax.recognition.trial import CLEAN

METRICS = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "tar_1e-2": "TAR at FAR 1e-2",
    "tar_1e-3": "TAR at FAR 1e-3",
    "eer": "equal error rate",
    "auc": "AUC",
    "fnir_1e-2": "FNIR at FPIR 1e-2",
    "threshold_1e-2": "threshold at FPIR 1e-2",
}
_DECIMALS = {"auc": 4}
_LEAST_FAR = 1e-4  # of the plot


@dataclasses.dataclass(frozen=True)
class Row:
    """One encoder under one task in one way: the metrics with their intervals, and the curve of its pairs.

    `enrolled` are the people in each half of the open set, `searches` of both those for enrolled people and for others.
    """

    encoder: str
    way: str
    task: Task | None
    values: Mapping[str, Interval]
    curve: verification.Curve
    enrolled: tuple[int, int]
    searches: tuple[int, int]


def measure(
    encoder: str, way: str, task: Task | None, known: np.ndarray, sought: np.ndarray, person: np.ndarray, resamples: int
) -> Row:
    """Compares what is looked for, unit vectors [N, D] of the photographs in some state, with the clean ones.

    Rates are of all pairs of different photographs, one clean and one as looked for (of clean ones each pair once).
    Ranks are with one enrolled photograph of each person, the first, and all others of everybody looked for; the false
    negative identification rate is that of `verification.searches`, where half of the people are not enrolled.
    `person` [N] numbers the people from 0; intervals are over people.
    """
    similarity = known.astype(np.float64) @ sought.astype(np.float64).T
    compared = verification.pairs(similarity, person, once=task is None)
    enrolled = np.unique(person, return_index=True)[1]
    probe = np.setdiff1d(np.arange(len(person)), enrolled)
    searches = verification.searches(similarity, person)
    found = [
        verification.found_within(similarity[np.ix_(enrolled, probe)], person[enrolled], person[probe], rank)
        for rank in (1, 5)
    ]

    def statistics(times: np.ndarray) -> np.ndarray:
        curve = verification.roc(compared, times)
        ranks = [verification.accuracy(each, person[probe], times) for each in found]
        rates = [verification.tar_at_far(curve, far) for far in (1e-2, 1e-3)]
        whole = (verification.equal_error_rate(curve), verification.auc(curve))
        return np.array([*ranks, *rates, *whole, *verification.fnir_at_fpir(searches, 1e-2, times)])

    intervals = verification.over_people(statistics, person.max() + 1, resamples=resamples)
    values, mated = dict(zip(METRICS, intervals, strict=True)), int(searches.mated.sum())
    halves = (len(enrolled[::2]), len(enrolled[1::2]))
    return Row(encoder, way, task, values, verification.roc(compared), halves, (mated, len(searches.mated) - mated))


def write(
    rows: Sequence[Row], shown: Sequence[Table], folder: Path, manifest: Mapping[str, Any], signature: str
) -> list[Path]:
    """Writes `table.csv`, `report.md`, `report.tex`, `roc.png`, `det.png` and `manifest.json`; returns their paths.

    `shown` are the tables for people. Raises `UserError` when the folder cannot be written.
    """
    texts = {
        "table.csv": _csv(rows, signature),
        "report.md": "\n".join([*map(to_markdown, shown), f"{_HOW} {_open_set(rows)}\n\n{signature}\n"]),
        "report.tex": "\n".join(to_latex(table, [signature]) for table in shown),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    pictures = {"roc.png": _roc(rows), "det.png": _det(rows)}
    for name, picture in pictures.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(picture)
    write_json(folder / "manifest.json", manifest)
    return [folder / name for name in (*texts, *pictures, "manifest.json")]


_HOW = (
    "Clean photographs are enrolled, others of the same people looked for in the state of the row. Ranks: one enrolled "
    "photograph of each person. TAR at FAR: the share of pairs of one person accepted at the threshold that accepts so "
    "large a share of pairs of two people; empty where these are too few to tell so small a share from none. FNIR at "
    "FPIR: every second person is enrolled, then the others; the share of searches for enrolled people that do not "
    "return their name, at the threshold above which so large a share of searches for people who are not enrolled "
    "returns anybody's. That threshold is chosen on the searches of the row, under damage on the damaged ones. "
    "Intervals: 95%, bootstrap over people; for ranks and FNIR over those looked for, and who is enrolled stays so."
)


def _open_set(rows: Sequence[Row]) -> str:
    """How many are enrolled in the open set, and how many searches the rates are shares of."""
    (first, second), (mated, others) = rows[0].enrolled, rows[0].searches
    return (
        f"The open set: {first} people enrolled, then the other {second}; of both together {mated} searches for "
        f"enrolled people and {others} for others."
    )


def tables(rows: Sequence[Row]) -> list[Table]:
    """Returns the clean faces' table with all metrics, and for each way a table of rank-1, TAR and FNIR by task."""
    clean = [[row.encoder, *(_cell(row, metric) for metric in METRICS)] for row in rows if row.task is None]
    made = [Table("Clean photographs", ["encoder", *METRICS.values()], clean)]
    encoders = list(dict.fromkeys(row.encoder for row in rows))
    ways = list(dict.fromkeys(row.way for row in rows if row.way != CLEAN))
    by_place = {(row.encoder, row.way, row.task): row for row in rows}
    tasks = list(dict.fromkeys(row.task for row in rows if row.task is not None))
    if not tasks:
        return made
    for metric in ("rank1", "tar_1e-2", "fnir_1e-2"):
        header = ["task", *(f"{encoder}, {way}" for encoder in encoders for way in ways)]
        cells = [
            [str(task), *(_cell(by_place[encoder, way, task], metric) for encoder in encoders for way in ways)]
            for task in tasks
        ]
        made.append(Table(f"{METRICS[metric]} by task", header, cells))
    return made


def _cell(row: Row, metric: str) -> str:
    mean, low, high = (fixed(value, _DECIMALS.get(metric, 3)) for value in row.values[metric])
    return f"{mean} [{low}, {high}]" if mean else ""


def _csv(rows: Sequence[Row], signature: str) -> str:
    text = io.StringIO()
    suffixes = {"": "mean", "_low": "low", "_high": "high"}
    columns = ["encoder", "way", "task", "severity"]
    columns += [f"{metric}{suffix}" for metric in METRICS for suffix in suffixes] + ["signature"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        place = [row.task.name, f"{row.task.severity:g}"] if row.task else [CLEAN, ""]
        values = [getattr(row.values[metric], field) for metric in METRICS for field in suffixes.values()]
        writer.writerow([row.encoder, row.way, *place, *(fixed(value, 5) for value in values), signature])
    return text.getvalue()


def _roc(rows: Sequence[Row]) -> bytes:
    """The receiver operating characteristic."""
    panels = _curves(rows, lambda curve: curve.tar)
    return plots.trade_off(panels, "false acceptance rate", "true acceptance rate", y_scale="linear")


def _det(rows: Sequence[Row]) -> bytes:
    """The detection error trade-off."""
    return plots.trade_off(_curves(rows, lambda curve: 1 - curve.tar), "false acceptance rate", "false rejection rate")


def _curves(
    rows: Sequence[Row], rate: Callable[[verification.Curve], np.ndarray]
) -> dict[str, dict[str, plots.Points]]:
    """Of each encoder the `rate`, above 0, by false acceptance: for the hardest severity of each task and way."""
    panels: dict[str, dict[str, plots.Points]] = {}
    hardest = {row.task.name: row.task for row in rows if row.task}
    for row in rows:
        if row.task is None or row.task == hardest[row.task.name]:
            name = CLEAN if row.task is None else f"{row.task}, {row.way}"
            far, values = row.curve.far, rate(row.curve)
            shown = (far >= _LEAST_FAR) & (values > 0)
            if shown.sum() > 1:
                panels.setdefault(row.encoder, {})[name] = list(zip(far[shown], values[shown], strict=True))
    return panels
