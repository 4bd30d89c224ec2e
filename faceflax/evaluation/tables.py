"""Results as tables, and tables as CSV, Markdown, LaTeX and plain text. Equal results give equal bytes."""

import csv
import dataclasses
import io
import re
from collections.abc import Sequence

import numpy as np

from faceflax.evaluation.results import METHODS, METRICS, TaskResult

_DECIMALS = {"psnr": 2, "ssim": 4, "hole_psnr": 2, "known_psnr": 2}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text: `rows` have as many cells as `header`."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(results: Sequence[TaskResult]) -> list[Table]:
    """Returns what people read: PSNR and SSIM of all tasks, then holes and known regions of those that have holes."""
    made = [_whole_images(results)]
    with_holes = [result for result in results if result.has_holes]
    return [*made, _holes(with_holes)] if with_holes else made


def brief(results: Sequence[TaskResult]) -> Table:
    """Returns a table narrow enough for a console: PSNR of each task, and of its holes where it has them."""
    rows = []
    for result in results:
        for metric in ("psnr", "hole_psnr") if result.has_holes else ("psnr",):
            what = str(result.task) if metric == "psnr" else f"{result.task}, hole"
            numbers = [_mean(result, method, metric) for method in METHODS]
            rows.append([what, *numbers, result.baseline, *(_interval(result, metric, over) for over in METHODS[:2])])
    count = len(results[0].index)
    header = ["task", "input", "classical", "model", "classical method", "gain over input", "gain over classical"]
    return Table(f"PSNR in dB of {count} images, gains with 95% intervals", header, rows)


def _whole_images(results: Sequence[TaskResult]) -> Table:
    header = ["task", "images", "classical method", "PSNR input", "PSNR classical", "PSNR model"]
    header += ["gain over input", "gain over classical", "SSIM input", "SSIM classical", "SSIM model", "failures"]
    rows = [
        [
            *(str(result.task), str(len(result.index)), result.baseline),
            *(_mean(result, method, "psnr") for method in METHODS),
            *(_interval(result, "psnr", over) for over in METHODS[:2]),
            *(_mean(result, method, "ssim") for method in METHODS),
            str(result.failures),
        ]
        for result in results
    ]
    return Table("Whole images: PSNR in dB, gains with 95% intervals", header, rows)


def _holes(results: Sequence[TaskResult]) -> Table:
    header = ["task", "images", "classical method", "hole input", "hole classical", "hole model"]
    header += ["gain over input", "gain over classical", "known input", "known classical", "known model"]
    rows = [
        [
            str(result.task),
            str(int(np.isfinite(result.scores["input"]["hole_psnr"]).sum())),
            result.baseline,
            *(_mean(result, method, "hole_psnr") for method in METHODS),
            *(_interval(result, "hole_psnr", over) for over in METHODS[:2]),
            *(_mean(result, method, "known_psnr") for method in METHODS),
        ]
        for result in results
    ]
    return Table("Inside the hole and outside of it: PSNR in dB (100: exact), gains with 95% intervals", header, rows)


def _mean(result: TaskResult, method: str, metric: str) -> str:
    scores = result.scores[method][metric]
    return fixed(np.nanmean(scores), _DECIMALS[metric])


def _interval(result: TaskResult, metric: str, over: str) -> str:
    mean, low, high = (fixed(value, _DECIMALS[metric]) for value in result.gain_interval(metric, over))
    return f"{mean} [{low}, {high}]"


def fixed(value: float, decimals: int) -> str:
    """Returns `value` with so many decimals, without a negative zero; nothing for NaN."""
    return "" if np.isnan(value) else f"{round(float(value), decimals) + 0.0:.{decimals}f}"


def to_csv(results: Sequence[TaskResult], signature: str) -> str:
    """Returns one row a task and severity with everything measured, to more digits than the tables for people.

    Columns: `task`, `severity`, `images`, `baseline`, `signature`, `failures`; `METRIC_METHOD`; for all metrics but
    `known_psnr` `METRIC_gain_over_OTHER` with `_low` and `_high` (95% interval). A metric that is not defined for
    the task is left empty.
    """
    rows = [_csv_row(result, signature) for result in results]
    text = io.StringIO()
    columns = max((list(row) for row in rows), key=len)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(result: TaskResult, signature: str) -> dict[str, str]:
    row = {
        "task": result.task.name,
        "severity": f"{result.task.severity:g}",
        "images": str(len(result.index)),
        "baseline": result.baseline,
        "signature": signature,
        "failures": str(result.failures),
    }
    for metric in METRICS if result.has_holes else METRICS[:2]:
        for method in METHODS:
            row[f"{metric}_{method}"] = fixed(np.nanmean(result.scores[method][metric]), 5)
        for over in METHODS[:2] if metric != "known_psnr" else ():
            interval = result.gain_interval(metric, over)
            for suffix, value in zip(("", "_low", "_high"), interval, strict=True):
                row[f"{metric}_gain_over_{over}{suffix}"] = fixed(value, 5)
    return row


def to_markdown(table: Table) -> str:
    """Returns a GitHub-flavoured Markdown table under its title; numbers are aligned to the right."""
    cells = [[_escape_markdown(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.header))]
    right = _numeric_columns(table)
    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)]
    lines = [_justify(row, widths, right) for row in (cells[0], rule, *cells[1:])]
    return "\n".join([f"**{table.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"


def _escape_markdown(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def to_text(table: Table) -> str:
    """Returns the table for a console."""
    widths = [max(len(row[column]) for row in (table.header, *table.rows)) for column in range(len(table.header))]
    right = _numeric_columns(table)
    lines = [_justify(row, widths, right) for row in (table.header, ["-" * width for width in widths], *table.rows)]
    return "\n".join([table.title, *("  ".join(line).rstrip() for line in lines)]) + "\n"


def _justify(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    cells = zip(row, widths, right, strict=True)
    return [cell.rjust(width) if is_right else cell.ljust(width) for cell, width, is_right in cells]


def _numeric_columns(table: Table) -> list[bool]:
    columns = range(len(table.header))
    return [
        all(re.fullmatch(r"[-\d.]*( ≈)?( \[.*\])?( \(.*\))?", row[column]) for row in table.rows) for column in columns
    ]


def to_latex(table: Table, notes: Sequence[str] = ()) -> str:
    """Returns a `tabular` (package booktabs) in a `table`; `notes` go under it in small print."""
    columns = "".join("r" if right else "l" for right in _numeric_columns(table))
    rows = [" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    lines = [
        *(r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.title)}}}"),
        *(rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"),
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {escape_latex(note)}}}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "≈": r"$\approx$",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape_latex(text: str) -> str:
    """Returns `text` so that LaTeX prints it as it is; the sign of a negative number becomes a minus."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
