"""What a GAN's discriminator makes of held-out faces: real ones, and those that each arm restored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.analysis import Results
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.faces import Degraded, Faces
from faceflax.evaluation.benchmark.measuring import Method
from faceflax.evaluation.tables import Table, fixed
from faceflax.training.parallel import Parallel

REAL = "real"


class Opponent(NamedTuple):
    """A trained discriminator: `discriminate(variables, batch) -> [B]` is compiled, `variables` are host arrays."""

    run: str
    discriminate: Callable[[Any, dict[str, jax.Array]], jax.Array]
    variables: Any
    methods: Sequence[Method]  # whose results it judges: the arms of its seed


def cell_name(run: str) -> str:
    """The name of the cells of the run's discriminator."""
    return f"discriminator-{run}"


def fill(
    workdir: Path,
    faces: Faces,
    degraded: Mapping[Task, str],
    opponents: Sequence[Opponent],
    devices: Parallel,
) -> None:
    """Writes a cell for each discriminator and task where it is missing or stale; its scores are probabilities.

    They are by method ("cnn-0"), and by "real" for the clean faces: how probably each image is real, given the degraded
    one. `degraded` holds the tasks and the fingerprints of the faces degraded by them. Raises `UserError` when the disk
    does not take a cell.
    """
    for task, fingerprint in degraded.items():
        stale = {}
        for opponent in opponents:
            made_from = {
                "format": cells.FORMAT,
                "clean": faces.fingerprint,
                "degraded": fingerprint,
                "variables": cells.fingerprint(opponent.variables),
                "methods": {method.name: method.made_from for method in opponent.methods},
            }
            if not cells.is_fresh(cells.path(workdir, cell_name(opponent.run), task), made_from):
                stale[opponent.run] = opponent, made_from
        if stale:
            found = _judge([opponent for opponent, _ in stale.values()], faces, faces.degrade(task), devices)
            for run, scores in found.items():
                cells.write(cells.path(workdir, cell_name(run), task), _cell(stale[run][1], faces, scores))


def _judge(
    opponents: Sequence[Opponent], faces: Faces, degraded: Degraded, devices: Parallel
) -> dict[str, dict[str, np.ndarray]]:
    """The probabilities by run and method; each method restores once, and one method's results are held at a time."""
    placed = {opponent.run: devices.replicate(opponent.variables) for opponent in opponents}

    def probabilities(opponent: Opponent, images: Sequence[np.ndarray]) -> np.ndarray:
        batches = [damaged | {"image": image} for damaged, image in zip(degraded.batches, images, strict=True)]
        judged = [opponent.discriminate(placed[opponent.run], devices.shard_batch(batch)) for batch in batches]
        return faces.real_rows(jax.device_get(judged)).astype(np.float64)

    clean = [batch["image"] for batch in faces.batches]
    found = {opponent.run: {REAL: probabilities(opponent, clean)} for opponent in opponents}
    methods = {method.name: method for opponent in opponents for method in opponent.methods}
    for name, method in methods.items():
        restored = [batch.image for batch in method.restore(degraded)]
        for opponent in opponents:
            if method in opponent.methods:
                found[opponent.run][name] = probabilities(opponent, restored)
    return found


def _cell(made_from: dict[str, Any], faces: Faces, scores: dict[str, np.ndarray]) -> Cell:
    return Cell(
        made_from=made_from,
        measured_by=cells.measurer(),
        index=faces.index,
        scores=scores,
        descriptors={},
        of_set={},
        failed=np.zeros(faces.num_images, bool),
        pictures=np.zeros((0, 0, 0, 3), np.uint8),
    )


def load(workdir: Path, results: Results, opponents: Sequence[str]) -> dict[str, dict[Task, Cell]]:
    """Reads the cells of the discriminators of the runs `opponents`."""
    return {
        run: {task: cells.read(cells.path(workdir, cell_name(run), task)) for task in results.tasks}
        for run in opponents
    }


def to_tables(results: Results, found: dict[str, dict[Task, Cell]]) -> list[Table]:
    """Returns a table for each GAN arm, means over seeds: which part of the images it tells rightly, and how surely.

    `pairs` is the share of faces of which the real image is the more probable one of it and its restoration. `right` is
    a probability over 0.5 of a real image, and of at most 0.5 of a restored one; `accuracy` is the mean of both shares.
    """
    arm_of = {run.name: run.arm for run in results.runs}
    made = []
    for gan in dict.fromkeys(arm_of[run] for run in found):
        judged = [by_task for run, by_task in found.items() if arm_of[run] == gan]
        groups = {str(task): [task] for task in results.tasks}
        if len(groups) > 1:
            groups[f"mean of {len(groups)}"] = list(results.tasks)
        rows = []
        for title, tasks in groups.items():
            values = _together([by_task[task] for by_task in judged for task in tasks], arm_of)
            rows.append([title, *_row(values)])
        arms = [name for name in values if name != REAL]
        header = ["task", *(f"{name}, pairs" for name in arms), *(f"{name}, accuracy" for name in arms)]
        header += [f"{name}, right" for name in values] + [f"{name}, probability" for name in values]
        title = f"Discriminator of {gan}: which images it tells rightly, and their mean probability"
        made.append(Table(title, header, rows))
    return made


def _together(judged: Sequence[Cell], arm_of: dict[str, str]) -> dict[str, np.ndarray]:
    """The probabilities of all cells, by "real" and arm, in the order of the cells."""
    values: dict[str, list[np.ndarray]] = {}
    for cell in judged:
        for name, probabilities in cell.scores.items():
            values.setdefault(arm_of.get(name, name), []).append(probabilities)
    return {name: np.concatenate(parts) for name, parts in values.items()}


def _row(values: dict[str, np.ndarray]) -> list[str]:
    right = {name: np.mean((found > 0.5) == (name == REAL)) for name, found in values.items()}
    arms = [name for name in values if name != REAL]
    pairs = [np.mean(values[REAL] > values[name]) for name in arms]
    accuracy = [(right[REAL] + right[name]) / 2 for name in arms]
    means = [found.mean() for found in values.values()]
    return [fixed(value, 3) for value in (*pairs, *accuracy, *right.values(), *means)]
