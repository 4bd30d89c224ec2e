"""The report of an evaluation: the same tables in every format, pictures, and the manifest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceflax.datasets.images import encode_png
from faceflax.evaluation import grid, page
from faceflax.evaluation.results import TaskResult
from faceflax.evaluation.tables import tables, to_csv, to_latex, to_markdown
from faceflax.files import atomic_path, write_json, write_text

PROTOCOL = "RGB, crop 0, data range 1, inputs and results rounded to 8 bits; SSIM Gaussian 11/1.5"


def signature(results: Sequence[TaskResult], manifest: Mapping[str, Any]) -> str:
    """Returns one line that says how and on what a table was measured: without it numbers cannot be compared."""
    data, trained = manifest["dataset"], manifest["trained"]
    return (
        f"faceflax {manifest['faceflax']}; {data['name']} {data['split']} ({data['fingerprint']}), "
        f"{len(results[0].index)} images at {data['image_size']}x{data['image_size']}; {PROTOCOL}; "
        f"config {manifest['config']}, step {manifest['step']}, seed {manifest['seed']}; "
        f"trained with config {trained['config']}, commit {trained['commit'] or 'unknown'}"
    )


def write_report(results: Sequence[TaskResult], folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Writes `table.csv`, `table.md`, `table.tex`, `index.html`, `grid.png` and `manifest.json` into `folder`.

    The tables are functions of the results and of what is signed, so that the same checkpoint gives the same bytes;
    what changes from run to run (command, time) is in the manifest, and so on the page, alone.

    Args:
      results: one for each task and severity, at least one.
      folder: is made; files of that name are replaced.
      manifest: as `training.workdir.manifest` gives it, with the checkpoint's `step`, the `config` and `commit` of its
        training in `trained`, and the `split` and `image_size` in `dataset`.

    Returns:
      The paths written, in the order above.

    Raises:
      UserError: the folder cannot be written, or the disk is full.
    """
    signed, shown = signature(results, manifest), tables(results)
    commit = f"measured at commit {manifest['commit'] or 'unknown'}"
    texts = {
        "table.csv": to_csv(results, signed),
        "table.md": "\n".join([*map(to_markdown, shown), f"{signed}; {commit}\n"]),
        "table.tex": "\n".join(to_latex(table, [f"{signed}; {commit}"]) for table in shown),
        "index.html": page.render(results, shown, signed, manifest),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    with atomic_path(folder / "grid.png") as temporary:
        temporary.write_bytes(encode_png(grid.draw(results)))
    write_json(folder / "manifest.json", manifest)
    return [folder / name for name in (*texts, "grid.png", "manifest.json")]
