"""Whether two arms have been trained on as many images since the network that both started from."""

import os.path
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from faceflax.errors import UserError
from faceflax.evaluation.benchmark.plan import Run
from faceflax.models import shipped
from faceflax.training import workdir as workdir_lib
from faceflax.training.trained import Trained

Described = Mapping[str, Mapping[str, Any]]

_ANEW = ("", 0)


class Budgets(NamedTuple):
    """Images (steps by batch) that two runs have been trained on since their common start."""

    first: int
    second: int


def describe(run: Run, trained: Trained, runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what `measured.json` says of a run's budget, besides its step and batch.

    `source` is the workdir or model that was measured, `start` the workdir or model, and its step (-1: not known), that
    its training started from; empty where it started anew.
    """
    source, start = str(run.workdir), trained.config.init_from
    if run.after:
        (start,) = (str(other.workdir) for other in runs if other.name == run.after)
    return {"source": _normal(source), "start": [_normal(start), _start_step(run)] if start else []}


def _normal(source: str) -> str:
    return source if source in shipped.names() else os.path.normpath(source)


def _start_step(run: Run) -> int:
    if run.is_shipped:
        before = shipped.manifest(run.workdir).get("before")
        return before[-1]["step"] if before else -1
    try:
        return workdir_lib.read_origin(run.workdir)
    except UserError:
        return -1


def since_common_start(runs: Described, first: str, second: str) -> Budgets | None:
    """Returns the budgets of two runs of `measured.json`, by their names; None where no common start is known."""
    one, other = _lineage(runs, first), _lineage(runs, second)
    common = next((network for network in one if network in other), None)
    return None if common is None else Budgets(one[common], other[common])


def _lineage(runs: Described, name: str) -> dict[tuple[str, int], int]:
    """The networks that a run descends from, itself first, and how many images it has been trained on since each."""
    known = {(run["source"], run["step"]): run for run in runs.values()}
    network, images = (runs[name]["source"], runs[name]["step"]), 0
    found = {network: images}
    while network in known:
        images += known[network]["step"] * known[network]["batch_size"]
        network = tuple(known[network]["start"]) or _ANEW
        if network in found or network[1] < 0:
            break
        found[network] = images
    return found
