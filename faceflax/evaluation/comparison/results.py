"""What a comparison's cells say: means, the best alternative of a task, and differences over the same faces."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.analysis import METRICS
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.comparison.methods import INPUT
from faceflax.evaluation.statistics import Interval, bootstrap


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method as tables name it.

    Attributes:
      title: for people.
      told: what it knows beside the image and the place of a hole; "" for nothing.
      source: packages and versions, or the training's step.
      licence: of what it runs.
      megabytes: of its weights; 0 where it has none.
      status: "measured", or why it was not.
      is_ours: whether it is a restorer of this project.
    """

    title: str
    told: str
    source: str
    licence: str
    megabytes: float
    status: str
    is_ours: bool


@dataclasses.dataclass(frozen=True)
class Results:
    """Entries by name, in the order of the tables, the input first; and the cells by method and task."""

    entries: Mapping[str, Entry]
    cells: Mapping[tuple[str, Task], Cell]
    tasks: tuple[Task, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of `benchmark.analysis.METRICS` that were measured, in their order."""
        first = self.cells[INPUT, self.tasks[0]]
        return tuple(name for name in METRICS if name in first.scores or name in first.of_set)

    @property
    def ours(self) -> list[str]:
        """The restorers of this project."""
        return [name for name, entry in self.entries.items() if entry.is_ours]

    def of(self, task: Task) -> list[str]:
        """The methods that were measured on `task` beside the input: by PSNR, the best first."""
        names = [name for name in self.entries if name != INPUT and (name, task) in self.cells]
        return sorted(names, key=lambda name: -self.value(name, task, "psnr"))

    def value(self, name: str, task: Task, metric: str) -> float:
        """The mean over faces, or the set's; NaN where it is not defined."""
        cell = self.cells[name, task]
        if metric in cell.of_set:
            return cell.of_set[metric]
        scores = cell.scores.get(metric, np.array([np.nan]))
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else np.nan

    def best(self, task: Task, *, blind: bool = False) -> str | None:
        """The alternative with the highest PSNR, with `blind` among those that are told nothing; None without any."""
        found = (name for name in self.of(task) if not self.entries[name].is_ours)
        return next((name for name in found if not (blind and self.entries[name].told)), None)

    def gain(self, name: str, over: str, task: Task, metric: str = "psnr") -> Interval:
        """The mean of `name` minus `over`, face by face, with its paired 95% bootstrap interval over faces."""
        return bootstrap(self.cells[name, task].scores[metric] - self.cells[over, task].scores[metric])


def load(workdir: Path, entries: Mapping[str, Entry], tasks: tuple[Task, ...]) -> Results:
    """Reads the cells of those methods and tasks that lie in `workdir`."""
    places = {(name, task): cells.path(workdir, name, task) for name in entries for task in tasks}
    found = {
        place: cells.read(path)
        for place, path in places.items()
        if path.exists() and entries[place[0]].status == MEASURED
    }
    return Results(entries, found, tasks)


MEASURED = "measured"
