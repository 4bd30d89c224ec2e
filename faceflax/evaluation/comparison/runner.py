"""A comparison from its configuration to its report."""

import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from faceflax.datasets import images, registry
from faceflax.datasets.images import encode_jpeg
from faceflax.errors import UserError
from faceflax.evaluation import grid
from faceflax.evaluation.benchmark import cells, measuring
from faceflax.evaluation.benchmark.measuring import Method
from faceflax.evaluation.comparison import damage, mean_face, methods, report
from faceflax.evaluation.comparison import results as results_lib
from faceflax.evaluation.comparison.measuring import DamagedFaces, Ours, alternative, load_ours, method
from faceflax.evaluation.comparison.methods import INPUT, Alternative
from faceflax.evaluation.comparison.results import MEASURED, Entry, Results
from faceflax.files import atomic_path, write_text
from faceflax.training import examples, parallel, workdir

_MEAN_OF = ("mini_faces", "train")
_PICTURED = ("mini_faces", "test")
_COLUMNS = 3  # alternatives in a row of the picture
_QUALITY = 80  # of the picture's JPEG

Advance = Callable[[int], None]


class Comparison:
    """The methods of a comparison, ready to be measured on the faces that its configuration names."""

    def __init__(self, config: ConfigDict):
        """Reads faces, judges and restorers.

        Raises `UserError` for a task or method that does not exist, and where faces, a judge or a restorer cannot be
        read.
        """
        self._config, size = config, config.data.image_size
        self.tasks = damage.parse(config.tasks)
        data = config.data
        self._source = examples.load(data, data.split)
        self._ours = load_ours(config.restorers, (INPUT, *methods.ALTERNATIVES), size)
        self._alternatives = methods.choose(config.alternatives)
        self._mean = mean_face.mean_of(registry.load(*_MEAN_OF), size)
        self._faces = DamagedFaces(self._source, config, self.tasks, parallel.one_device())
        self._unavailable: dict[str, str] = {}
        self._degraded: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many cells there are at most: what `measure` advances by."""
        return sum(len(each.tasks) for each in self._methods())

    def measure(self, folder: Path, advance: Advance = lambda count: None) -> None:
        """Measures every cell that is missing or stale, method by method.

        An alternative whose weights cannot be fetched is left out, with its reason on stderr. Raises `UserError` when
        the disk does not take a cell.
        """
        for each in self._methods():
            try:
                self._degraded |= measuring.fill(folder, self._faces, [each], advance)
            except UserError as error:
                if each.name not in self._alternatives:
                    raise
                print(f"{each.name}: {error}", file=sys.stderr)
                self._unavailable[each.name] = "its weights could not be fetched"

    def _methods(self) -> list[Method]:
        tasks = self.tasks
        found = [measuring.untouched(tasks)]
        found += [method(name, ours.made_from, ours.restore, tasks) for name, ours in self._ours.items()]
        installed = {name: each for name, each in self._alternatives.items() if not each.missing}
        found += [alternative(name, each, self._mean, tasks) for name, each in installed.items()]
        return [each for each in found if each.tasks]

    def results(self, folder: Path) -> Results:
        """Returns what `measure` left in `folder`."""
        entries = {INPUT: Entry("(the damaged face)", "", "", "", 0.0, MEASURED, False)}
        entries |= {name: _our_entry(name, ours) for name, ours in self._ours.items()}
        entries |= {name: self._entry(name, each) for name, each in methods.ALTERNATIVES.items()}
        return results_lib.load(folder, entries, self.tasks)

    def _entry(self, name: str, found: Alternative) -> Entry:
        status = self._unavailable.get(name, MEASURED)
        if found.missing:
            status = f"not installed: pip install {' '.join(found.missing)}"
        elif not any(task.name in found.tasks for task in self.tasks):
            status = "for none of these tasks"
        elif name not in self._alternatives:
            status = "left out of this run"
        return Entry(found.title, found.told, found.source, found.licence, found.megabytes, status, False)

    def manifest(self) -> dict[str, Any]:
        """Returns what measured, on what: JSON."""
        data, faces = self._config.data, self._faces
        made = workdir.provenance()
        config = self._config.to_dict() | {"data": self._config.data.to_dict() | {"folder": ""}}
        return made | {
            "config": config,
            "command": made["command"].replace(data.folder, "FOLDER") if data.folder else made["command"],
            "dataset": {
                "name": data.dataset,
                "split": data.split,
                "fingerprint": self._source.fingerprint,
                "images": faces.num_images,
                "image_size": data.image_size,
            },
            "degraded": {"fingerprint": cells.fingerprint(self._degraded), "by_task": self._degraded},
            "judges": faces.judges,
            "restorers": {name: ours.made_from for name, ours in self._ours.items()},
            "alternatives": {name: each.made_from for name, each in self._alternatives.items() if not each.missing},
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.machine(),
        }

    def picture(self, results: Results) -> bytes:
        """Returns faces of nobody as a JPEG: damaged, by each task's best alternatives and by our restorers."""
        source = registry.load(*_PICTURED)
        size = self._config.data.image_size
        functions = {name: ours.restore for name, ours in self._ours.items()}
        rows = []
        for number, task in enumerate(self.tasks):
            clean = images.square(images.decode(source[number % len(source)]["image"]), size)
            damaged = damage.apply(clean, task, number)
            found = [name for name in results.of(task) if not results.entries[name].is_ours][:_COLUMNS]
            shown = [("clean", clean, f"face {number}"), ("damaged", damaged.image, _psnr(damaged.image, clean))]
            for place in range(_COLUMNS):
                title = f"alternative {place + 1}"
                if place >= len(found):
                    shown.append((title, np.full_like(clean, 255), ""))
                    continue
                if found[place] not in functions:
                    functions[found[place]] = self._alternatives[found[place]].load(self._mean)
                made = self._restored(functions[found[place]], damaged)
                shown.append((title, made, f"{found[place]} {_psnr(made, clean)}"))
            for name in self._ours:
                made = self._restored(functions[name], damaged)
                shown.append((name, made, _psnr(made, clean)))
            rows.append((str(task), [shown]))
        return encode_jpeg(grid.sheet(rows), _QUALITY)

    @staticmethod
    def _restored(restore: Callable, damaged: damage.Damaged) -> np.ndarray:
        return damage.to_uint8(np.nan_to_num(restore(damaged.image, damaged.mask, damaged.known)))


def _our_entry(name: str, ours: Ours) -> Entry:
    source = f"faceflax, {ours.made_from['arm']}, step {ours.made_from['step']:,}"
    return Entry(name, "", source, "Apache-2.0", ours.megabytes, MEASURED, True)


def _psnr(image: np.ndarray, clean: np.ndarray) -> str:
    error = np.mean(np.square(image.astype(np.float64) - clean))
    return f"{10 * np.log10(255**2 / max(error, 1e-10)):.1f} dB"


def write(comparison: Comparison, folder: Path, docs: Path | None) -> tuple[Results, Sequence[Path]]:
    """Writes the report of what lies in the workdir `folder`, and with `docs` the page and its picture there.

    Returns the results and the paths. Raises `UserError` when a place cannot be written.
    """
    results, manifest = comparison.results(folder), comparison.manifest()
    picture = comparison.picture(results)
    written = report.write(results, picture, folder / "report", manifest)
    if docs:
        write_text(docs / "comparison.md", report.markdown(results, manifest))
        with atomic_path(docs / report.PICTURE) as temporary:
            temporary.write_bytes(picture)
    return results, written
