"""What the cells say: means, differences between two arms and how sure they are, by task and over groups of tasks."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from faceflax.degradations import Task
from faceflax.evaluation import judges
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.plan import Run
from faceflax.evaluation.judges.verification import FALSE_ACCEPTANCE_RATES
from faceflax.evaluation.statistics import bootstrap


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric is shown and read: `better` is 1 when more is better, -1 when less is; `scale` is for people."""

    title: str
    decimals: int
    better: int
    scale: float = 1.0


METRICS = {
    "psnr": Metric("PSNR, dB", 2, 1),
    "ssim": Metric("SSIM", 4, 1),
    "hole_psnr": Metric("PSNR inside the hole, dB", 2, 1),
    "known_psnr": Metric("PSNR outside of the hole, dB (100: exact)", 2, 1),
    "perceptual": Metric("perceptual distance (less is better)", 4, -1),
    "identity": Metric("identity similarity", 4, 1),
    "identity_dlib": Metric("identity similarity, dlib", 4, 1),
    "kid": Metric("KID-like distance x 1000 (less is better)", 2, -1, 1000.0),
    **{
        f"tar_{judge}_{rate:g}": Metric(f"true acceptance rate at false acceptance {rate:g}, {named}", 3, 1)
        for judge, named in (("identity", "faceres"), ("identity_dlib", "dlib"))
        for rate in FALSE_ACCEPTANCE_RATES
    },
}
"""Everything measured, in the order of the tables."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """An arm's mean minus another's, over images and seeds.

    Attributes:
      mean: of all images and seeds.
      low, high: its paired 95% bootstrap interval over images, the seeds taken as given; NaN where there is none.
      by_seed: the mean of each seed.
    """

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves 0 out, and every seed's mean lies on the same side of 0."""
        return (self.low > 0 and min(self.by_seed) > 0) or (self.high < 0 and max(self.by_seed) < 0)


class Results:
    """The cells of a benchmark, and what is computed from them; the same cells give the same numbers."""

    def __init__(self, settings: ConfigDict, runs: Sequence[Run], clean: Cell, found: dict[tuple[str, Task], Cell]):
        """Takes the cells by method ("gan-0") and task."""
        self.settings, self.runs, self.clean, self.cells = settings, list(runs), clean, found
        self._differences: dict[tuple, Difference | None] = {}
        self._kid_gains: dict[tuple[str, str, Task], judges.Gain] = {}

    @functools.cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that were measured, in the order of `METRICS`."""
        first = next(iter(self.cells.values()))
        return tuple(name for name in METRICS if name in first.scores or name in first.of_set)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the tables."""
        return settings_lib.table_tasks(self.settings)

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.settings.compare.cnn or self.settings.arms[0]

    def methods(self, arm: str) -> list[str]:
        """The names of the cells of `arm`, one a seed; "input" and "classical" are themselves."""
        return [run.name for run in self.runs if run.arm == arm] or [arm]

    def fidelity_methods(self) -> dict[float, str]:
        """The names of the cells of the fidelity curve by its values, from the GAN to the CNN; empty without one."""
        chosen, seed = self.settings.fidelity, self.settings.seeds[0]
        if not chosen.gan:
            return {}
        between = {value: settings_lib.fidelity_name(value) for value in settings_lib.fidelity_between(self.settings)}
        return {0.0: f"{chosen.gan}-{seed}"} | between | {1.0: f"{chosen.cnn}-{seed}"}

    def values(self, method: str, task: Task, metric: str) -> float:
        """The metric of one method and task: the mean over images, or the set's; NaN where it is not defined."""
        cell = self.cells[method, task]
        if metric in cell.of_set:
            return cell.of_set[metric]
        scores = cell.scores[metric]
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else np.nan

    def mean(self, arm: str, tasks: Sequence[Task], metric: str) -> float:
        """The mean over the arm's seeds and those of `tasks` that have the metric; NaN where none has."""
        values = [self.values(method, task, metric) for method in self.methods(arm) for task in tasks]
        return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

    def failures(self, arm: str) -> int:
        """How many results held pixels that are not finite, over all seeds and tasks."""
        return sum(int(self.cells[method, task].failed.sum()) for method in self.methods(arm) for task in self.tasks)

    def difference(self, arm: str, other: str, tasks: Sequence[Task], metric: str) -> Difference | None:
        """`arm` minus `other` over `tasks`, of which those without the metric are left out; None when none has it."""
        key = (arm, other, tuple(tasks), metric)
        if key not in self._differences:
            self._differences[key] = self._difference(*key)
        return self._differences[key]

    def _difference(self, arm: str, other: str, tasks: Sequence[Task], metric: str) -> Difference | None:
        tasks = [task for task in tasks if np.isfinite(self.values(self.methods(arm)[0], task, metric))]
        if not tasks:
            return None
        by_seed = tuple(
            float(np.mean([self.values(a, task, metric) - self.values(b, task, metric) for task in tasks]))
            for a, b in self._pairs(arm, other)
        )
        if metric == "kid":
            low, high = self._kid_interval(arm, other, tasks)
        else:
            gains = [
                self.cells[a, task].scores[metric] - self.cells[b, task].scores[metric]
                for a, b in self._pairs(arm, other)
                for task in tasks
            ]
            defined = ~np.isnan(gains).all(axis=0)
            _, low, high = bootstrap(np.nanmean(np.array(gains)[:, defined], axis=0))
        return Difference(float(np.mean(by_seed)), low, high, by_seed)

    def _pairs(self, arm: str, other: str) -> list[tuple[str, str]]:
        """The methods of two arms, seed by seed; what has no seeds stands beside each of them."""
        first, second = self.methods(arm), self.methods(other)
        count = max(len(first), len(second))
        repeat = lambda names: names * count if len(names) == 1 else names  # noqa: E731
        return list(zip(repeat(first), repeat(second), strict=True))

    def _kid_interval(self, arm: str, other: str, tasks: Sequence[Task]) -> tuple[float, float]:
        gains = [self._kid_gain(a, b, task) for a, b in self._pairs(arm, other) for task in tasks]
        _, low, high = judges.mean_interval(gains)
        return low, high

    def _kid_gain(self, a: str, b: str, task: Task) -> judges.Gain:
        if (a, b, task) not in self._kid_gains:
            features = (self.cells[method, task].descriptors["kid"] for method in (a, b))
            self._kid_gains[a, b, task] = judges.kid_gain(self.clean.descriptors["kid"], *features)
        return self._kid_gains[a, b, task]


def load(settings: ConfigDict, runs: Sequence[Run], workdir: Path) -> Results:
    """Reads the cells of `workdir` that the benchmark has; all must have been measured."""
    found = {}
    for method in (*settings_lib.BESIDE, *(run.name for run in runs)):
        for task in settings_lib.all_tasks(settings):
            found[method, task] = cells.read(cells.path(workdir, method, task))
    for value in settings_lib.fidelity_between(settings):
        name = settings_lib.fidelity_name(value)
        for task in settings_lib.fidelity_tasks(settings):
            found[name, task] = cells.read(cells.path(workdir, name, task))
    return Results(settings, runs, cells.read(workdir / "cells" / "clean.npz"), found)
