"""What a GAN's discriminator makes of held-out faces: real ones, and those that each arm restored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark.analysis import Results
from faceflax.evaluation.benchmark.cells import Cell
from faceflax.evaluation.benchmark.measuring import Degraded, Faces, Method
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


def fill(workdir: Path, faces: Faces, tasks: Sequence[Task], opponents: Sequence[Opponent], devices: Parallel) -> None:
    """Writes a cell for each discriminator and task where it is missing or stale; its scores are probabilities.

    They are by method ("cnn-0"), and by "real" for the clean faces: how probably each image is real, given the degraded
    one. Raises `UserError` when the disk does not take a cell.
    """
    for task in tasks if opponents else ():
        degraded = faces.degrade(task)
        for opponent in opponents:
            file = cells.path(workdir, cell_name(opponent.run), task)
            made_from = {
                "format": cells.FORMAT,
                "clean": faces.fingerprint,
                "degraded": degraded.fingerprint,
                "variables": cells.fingerprint(opponent.variables),
                "methods": {method.name: method.made_from for method in opponent.methods},
            }
            if not cells.is_fresh(file, made_from):
                cells.write(file, _judge(opponent, faces, degraded, made_from, devices))


def _judge(opponent: Opponent, faces: Faces, degraded: Degraded, made_from: dict, devices: Parallel) -> Cell:
    variables = devices.replicate(opponent.variables)

    def probabilities(images: Sequence[np.ndarray]) -> np.ndarray:
        batches = [damaged | {"image": image} for damaged, image in zip(degraded.batches, images, strict=True)]
        judged = [opponent.discriminate(variables, devices.shard_batch(batch)) for batch in batches]
        return faces.real_rows(jax.device_get(judged)).astype(np.float64)

    found = {REAL: probabilities([batch["image"] for batch in faces.batches])}
    for method in opponent.methods:
        found[method.name] = probabilities([restored for restored, _ in method.restore(degraded)])
    nothing = np.zeros((faces.num_images, 0))
    return Cell(made_from, faces.index, found, {}, {}, np.zeros(faces.num_images, bool), nothing)


def load(workdir: Path, results: Results, opponents: Sequence[str]) -> dict[str, dict[Task, Cell]]:
    """Reads the cells of the discriminators of the runs `opponents`."""
    return {
        run: {task: cells.read(cells.path(workdir, cell_name(run), task)) for task in results.tasks}
        for run in opponents
    }


def to_tables(results: Results, found: dict[str, dict[Task, Cell]]) -> list[Table]:
    """Returns a table for each GAN arm, means over seeds: which part of the images it tells rightly, and how surely.

    Right is a probability over 0.5 of a real image, and of at most 0.5 of a restored one.
    """
    arm_of = {run.name: run.arm for run in results.runs}
    made = []
    for gan in dict.fromkeys(arm_of[run] for run in found):
        judged = [by_task for run, by_task in found.items() if arm_of[run] == gan]
        columns = dict.fromkeys(
            arm_of.get(name, name) for by_task in judged for name in next(iter(by_task.values())).scores
        )
        rows = [_row(str(task), [by_task[task] for by_task in judged], columns, arm_of) for task in results.tasks]
        if len(rows) > 1:
            everything = [cell for by_task in judged for cell in by_task.values()]
            rows.append(_row(f"mean of {len(rows)}", everything, columns, arm_of))
        header = ["task", *(f"{name}, right" for name in columns), *(f"{name}, probability" for name in columns)]
        made.append(
            Table(f"Discriminator of {gan}: which images it tells rightly, and their mean probability", header, rows)
        )
    return made


def _row(title: str, judged: Sequence[Cell], columns: Sequence[str], arm_of: dict[str, str]) -> list[str]:
    values = {column: [] for column in columns}
    for cell in judged:
        for name, probabilities in cell.scores.items():
            values[arm_of.get(name, name)].append(probabilities)
    together = {column: np.concatenate(found) for column, found in values.items()}
    right = [np.mean((found > 0.5) == (column == REAL)) for column, found in together.items()]
    return [title, *(fixed(share, 3) for share in right), *(fixed(p.mean(), 3) for p in together.values())]
