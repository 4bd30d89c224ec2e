"""What the report shows beside tables: the plots' points, and the page of faces."""

from collections.abc import Sequence

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation import grid
from faceflax.evaluation.benchmark import plots, tables
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.analysis import METRICS, Results


def occlusion_curve(results: Results) -> bytes | None:
    """Draws each method's scores over the size of the hole; None when no curve was measured."""
    tasks = settings_lib.curve_tasks(results.settings)
    if not tasks:
        return None
    metrics = [name for name in ("hole_psnr", "perceptual", "identity") if name in results.metrics]
    panels = {
        METRICS[metric].title: {
            method: [(task.severity, results.mean(method, [task], metric)) for task in tasks]
            for method in (*settings_lib.BESIDE, *results.settings.arms)
        }
        for metric in metrics
    }
    return plots.lines(panels, "hole, % of the area")


def perception_distortion(results: Results) -> bytes | None:
    """Draws PSNR against perceptual distance, a panel for each kind of damage and a point for each severity and seed.

    The plane is that of Blau and Michaeli, CVPR 2018. None when the distance was not measured.
    """
    if "perceptual" not in results.metrics:
        return None
    panels = {}
    for kind in dict.fromkeys(task.name for task in results.tasks):
        tasks = [task for task in results.tasks if task.name == kind]
        panels[kind] = {
            arm: [_place(results, method, [task]) for method in results.methods(arm) for task in tasks]
            for arm in (*settings_lib.BESIDE, *results.settings.arms)
        }
    return plots.scatter(panels, METRICS["psnr"].title, METRICS["perceptual"].title)


def _place(results: Results, method: str, tasks: Sequence[Task]) -> tuple[float, float]:
    psnr, distance = (np.mean([results.values(method, t, metric) for t in tasks]) for metric in ("psnr", "perceptual"))
    return float(psnr), float(distance)


def fidelity_curve(results: Results) -> bytes | None:
    """Draws PSNR against perceptual distance of the networks between CNN and GAN; None when there are none."""
    tasks = settings_lib.fidelity_tasks(results.settings)
    if "perceptual" not in results.metrics or not results.settings.fidelity.gan or not tasks:
        return None
    methods = results.fidelity_methods()
    named = {tables.over(tasks): [(*_place(results, m, tasks), f"{v:g}") for v, m in methods.items()]}
    return plots.path(named, METRICS["psnr"].title, METRICS["perceptual"].title)


def faces(results: Results) -> np.ndarray:
    """Draws the page of faces, uint8 RGB [H, W, 3]: a row a task, the methods (of the first seed) beside each other."""
    methods = {name: results.methods(name)[0] for name in (*settings_lib.BESIDE, *results.settings.arms)}
    rows = []
    for task in results.tasks:
        found = [results.cells[method, task] for method in methods.values()]
        people = []
        for person, clean in enumerate(results.clean.pictures[: results.settings.eval.faces]):
            shown = [
                (name, cell.pictures[person], f"{cell.scores['psnr'][person]:.1f} dB")
                for name, cell in zip(methods, found, strict=True)
            ]
            people.append([*shown, ("clean", clean, f"image {results.clean.index[person]}")])
        rows.append((str(task), people))
    return grid.sheet(rows)
