"""The part of the study that holds the devices, in a process of its own: when that ends, the trainings have them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from faceflax import aside
from faceflax.evaluation.benchmark.plan import Run
from faceflax.scaling.cells import Cell
from faceflax.scaling.sizes import Size


class Found(NamedTuple):
    """What the devices told.

    Attributes:
      is_first: whether this is the first process, or the only one, of those that share the devices.
      cells: the study's cells, as far as they were measured; complete in the first process alone.
      sizes: by the trainings' arms; empty but in the first process.
      provenance: what a report says of how it came about.
    """

    is_first: bool
    cells: list[Cell]
    sizes: dict[str, Size]
    provenance: dict[str, Any]


def run(settings: ConfigDict, folder: Path, runs: Sequence[Run]) -> Found:
    """Measures the cells of `settings` into `folder`, counts what the networks of `runs` cost, and returns both.

    Raises `UserError` as `measuring.measure` and `aside.call` do, and when the folder is in use.
    """
    return aside.call(_measure, settings, folder, list(runs))


def _measure(settings: ConfigDict, folder: Path, runs: Sequence[Run]) -> Found:
    import jax

    from faceflax.scaling import measuring
    from faceflax.training import cluster, runtime, workdir

    # The processes of a run have them together.
    runtime.start(simulated_cpus=max(1, max(settings.counts) // cluster.named_processes()))
    is_first = jax.process_index() == 0
    with workdir.locked(folder, active=is_first):
        cells = measuring.measure(settings, folder, _say)
        sizes = {}
        for run in runs if is_first else ():
            if run.arm not in sizes:
                _say(f"counting the operations of {run.arm}")
                sizes[run.arm] = Size(measuring.num_parameters(run.config), measuring.model_flops(run.config))
    return Found(is_first, cells, sizes, measuring.provenance(settings))


def _say(line: str) -> None:
    print(line, flush=True)
