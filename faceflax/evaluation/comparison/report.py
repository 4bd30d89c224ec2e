"""The report of a comparison: its tables in every format, a picture of faces of nobody, and the page for `docs/`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflax.degradations import Task
from faceflax.evaluation import page
from faceflax.evaluation.benchmark import tables as benchmark_tables
from faceflax.evaluation.benchmark.analysis import METRICS
from faceflax.evaluation.comparison import damage
from faceflax.evaluation.comparison.methods import INPUT
from faceflax.evaluation.comparison.results import Results
from faceflax.evaluation.report import PROTOCOL
from faceflax.evaluation.tables import Table, fixed, to_latex, to_markdown
from faceflax.files import atomic_path, write_json, write_text

PICTURE = "comparison.jpg"
_SHOWN = ("psnr", "ssim", "identity", "identity_dlib", "perceptual", "kid")  # in the tables for people


def overview(results: Results) -> Table:
    """Returns a row a task: the input, the best alternative, the best that is told nothing, and our restorers."""
    header = ["task", "input", "best alternative", "PSNR", "told nothing", "PSNR of that"]
    for name in results.ours:
        header += [name, f"{name} over the best"]
    rows = []
    for task in results.tasks:
        row = [str(task), _mean(results, INPUT, task, "psnr")]
        for name in (results.best(task), results.best(task, blind=True)):
            row += [results.entries[name].title, _mean(results, name, task, "psnr")] if name else ["", ""]
        best = results.best(task)
        for name in results.ours:
            row += [_mean(results, name, task, "psnr"), _gain(results, name, best or INPUT, task)]
        rows.append(row)
    return Table("Mean PSNR in dB, gains with paired 95% intervals", header, rows)


def of_task(results: Results, task: Task) -> Table:
    """Returns a row a method, the best by PSNR first: every metric, what it is told, its time and its size."""
    metrics = [metric for metric in _SHOWN if metric in results.metrics]
    header = ["method", "told", "PSNR", "gain over input", *(METRICS[metric].title for metric in metrics[1:])]
    rows = []
    for name in (*results.of(task), INPUT):
        entry = results.entries[name]
        row = [f"{entry.title} (ours)" if entry.is_ours else entry.title, entry.told]
        row += [_mean(results, name, task, "psnr"), _gain(results, name, INPUT, task) if name != INPUT else ""]
        row += [_mean(results, name, task, metric) for metric in metrics[1:]]
        seconds = results.value(name, task, "seconds") if name != INPUT else float("nan")
        rows.append([*row, fixed(seconds, 3), _size(entry.megabytes)])
    meaning = damage.MEANING[task.name].format(task.severity)
    return Table(f"{task}: {meaning}", [*header, "s a face", "MB"], rows)


def methods(results: Results) -> Table:
    """Returns what was compared, and what could not be."""
    header = ["method", "told", "made of", "licence", "MB", "status"]
    rows = [
        [entry.title, entry.told, entry.source, entry.licence, _size(entry.megabytes), entry.status]
        for name, entry in results.entries.items()
        if name != INPUT
    ]
    return Table("Methods", header, rows)


def _size(megabytes: float) -> str:
    return fixed(megabytes, 1) if megabytes else ""


def _mean(results: Results, name: str, task: Task, metric: str) -> str:
    return fixed(results.value(name, task, metric) * METRICS[metric].scale, METRICS[metric].decimals)


def _gain(results: Results, name: str, over: str, task: Task) -> str:
    mean, low, high = (fixed(value, 2) for value in results.gain(name, over, task))
    return f"{mean} [{low}, {high}]"


def scores_csv(results: Results) -> str:
    """Returns a row a task and method with the mean of everything measured; no timing, which no two runs share."""
    rows = []
    for (name, task), cell in results.cells.items():
        row = {"task": task.name, "severity": f"{task.severity:g}", "method": name, "images": len(cell.index)}
        row["failures"] = int(cell.failed.sum())
        row |= {metric: fixed(results.value(name, task, metric), 6) for metric in results.metrics}
        gain = results.gain(name, INPUT, task)
        row |= {f"psnr_gain{end}": fixed(value, 6) for end, value in zip(("", "_low", "_high"), gain, strict=True)}
        best = results.gain(name, results.best(task) or INPUT, task)
        names = ("psnr_over_best", "psnr_over_best_low", "psnr_over_best_high")
        rows.append(row | {key: fixed(value, 6) for key, value in zip(names, best, strict=True)})
    return benchmark_tables.to_csv(rows)


def times_csv(results: Results) -> str:
    """Returns a row a task and method with the seconds that a face took."""
    return benchmark_tables.to_csv(
        {"task": task.name, "severity": f"{task.severity:g}", "method": name, "seconds": fixed(seconds, 5)}
        for (name, task) in results.cells
        for seconds in [results.value(name, task, "seconds")]
    )


def signature(manifest: Mapping[str, Any]) -> str:
    """Returns one line that says how and on what was measured: without it numbers cannot be compared."""
    data = manifest["dataset"]
    return (
        f"faceflax {manifest['faceflax']}; {data['name']} {data['split']} ({data['fingerprint']}), {data['images']} "
        f"images at {data['image_size']}x{data['image_size']}; damaged set {manifest['degraded']['fingerprint']}; "
        f"{PROTOCOL}; commit {manifest['commit'] or 'unknown'}"
    )


_HOW = (
    "The faces are damaged by `faceflax/evaluation/comparison/damage.py`, which shares no code with what restorers are "
    "trained on, once for all methods. A method is told the damaged face and, of box and mask, the place of the hole; "
    'some are told more, as the column "told" says, which our restorers are not. Intervals are paired 95% bootstrap '
    "intervals over faces. Times are those of one face after another, programs compiled and files read before, on "
    "{cores} core(s) of {device}; those of cells that another run measured are that run's. Identity is the cosine of "
    "the vectors of faceres, which a restorer's loss may know, and of dlib's network, which none knows. Failures "
    "(results that are not finite): {failures}."
)
_PICTURED = (
    "Synthetic faces, of nobody: the n-th of mini_faces' test split under the n-th damage, not chosen. Beside the "
    "damaged face the best alternatives by the tables above; under each picture the method and its PSNR on this face."
)


def how(results: Results, manifest: Mapping[str, Any]) -> str:
    """Returns the description of the method."""
    failures = sum(int(cell.failed.sum()) for cell in results.cells.values())
    return _HOW.format(cores=manifest["cores"], device=manifest["processor"], failures=failures)


def write(results: Results, picture: bytes, folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Writes `scores.csv`, `times.csv`, `report.md`, `report.tex`, `index.html`, the picture and `manifest.json`.

    Equal cells give equal bytes of `scores.csv`. Returns the paths. Raises `UserError` when `folder` cannot be written.
    """
    shown = [overview(results), *(of_task(results, task) for task in results.tasks), methods(results)]
    signed = signature(manifest)
    body = f"<p>{how(results, manifest)}</p>\n" + "".join(map(page.table_html, shown))
    source = page.embed_bytes(picture, "jpeg")
    body += f'<p>{_PICTURED}</p>\n<p><img class="figure" src="{source}" alt="Faces restored by each method"></p>\n'
    texts = {
        "scores.csv": scores_csv(results),
        "times.csv": times_csv(results),
        "report.md": markdown(results, manifest),
        "report.tex": "\n".join(to_latex(table, [signed]) for table in shown),
        "index.html": page.document("Comparison", signed, body, manifest),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    with atomic_path(folder / PICTURE) as temporary:
        temporary.write_bytes(picture)
    write_json(folder / "manifest.json", manifest)
    return [folder / name for name in (*texts, PICTURE, "manifest.json")]


def markdown(results: Results, manifest: Mapping[str, Any]) -> str:
    """Returns the page as Markdown, beside which the picture lies: the one of `docs/`."""
    parts = ["# Our restorers and what people would use instead", "", _COMMAND, "", how(results, manifest), ""]
    parts += [to_markdown(overview(results)), "## Task by task", ""]
    parts += [to_markdown(of_task(results, task)) for task in results.tasks]
    parts += ["## What was compared", "", to_markdown(methods(results)), "## Faces", "", _PICTURED, ""]
    parts += [f"![Faces restored by each method]({PICTURE})", "", signature(manifest), "", _versions(manifest), ""]
    return "\n".join(parts)


_COMMAND = """```
pip install 'faceflax[comparison]'
faceflax datasets build face_folder --folder FOLDER
python -m experiments.comparison --config=configs/comparison.py --config.data.folder=FOLDER --workdir=runs/comparison
```

measures restorers (`--config.restorers`) beside every alternative that is installed, on a folder of aligned faces, and
writes `runs/comparison/report/`; with `--docs=docs` this page as well. The same command goes on where it was
stopped."""


def _versions(manifest: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} {version}" for name, version in sorted(manifest["versions"].items()))
    judges = ", ".join(f"{name} {version}" for name, version in manifest["judges"].items())
    return f"Python {manifest['python']}; {named}. Judges: {judges or 'none'}."
