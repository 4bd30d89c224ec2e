"""The trainings behind a workdir, as the manifests of what ships tell them."""

import re
from pathlib import Path
from typing import Any

from faceflax.errors import UserError

OF_A_START = ("commit", "versions", "device", "seed", "command")
"""What `last_start` tells."""


def before(folder: Path, config: Any) -> list[dict[str, Any]]:
    """The trainings behind that of the workdir `folder`, oldest first, as far as `init_from` leads back, each once.

    Raises `UserError` when a workdir that it started from is no longer there.
    """
    from faceflax.training import trained, workdir

    if config.init_from and not config.experts.start:
        return until(folder, config.init_from, workdir.read_origin(folder))
    runs = []
    for origin in filter(None, (*config.experts.start, config.init_from)):
        chain = until(folder, origin, trained.load_plain(origin).info["step"])
        runs += [run for run in chain if run not in runs]
    return runs


def until(folder: Path, origin: str, step: int) -> list[dict[str, Any]]:
    """The training of `origin`, up to the `step` that the workdir `folder` started from, and those behind it.

    Raises `UserError` when `origin` is not here, or ships as what `folder` was not trained from.
    """
    from faceflax.models import shipped
    from faceflax.training import trained, workdir

    origin = trained.named_expert(origin)[0]
    if origin in shipped.names():
        runs = of_shipped(origin)
        started = workdir.read_shipped_origins(folder).get(origin, {"step": step})
        while runs and any(runs[-1][field] != value for field, value in started.items()):  # it was trained on since
            runs.pop()
        if not runs:
            raise UserError(
                f'the shipped model "{origin}" does not come from that which {folder} was trained from; ship that first'
            )
        return runs
    made = workdir.read_manifest(Path(origin))
    if not made:
        raise UserError(
            f"{folder} was trained from {origin}, which is not here; bring that workdir back, or start there"
        )
    start = last_start(made)
    known = workdir.read_config(Path(origin))
    run = {"kind": known.arm, "step": step, "dataset": made["dataset"], "tasks": list(known.tasks)}
    return [*before(Path(origin), known), run | {name: start[name] for name in ("commit", "command")}]


def of_shipped(name: str) -> list[dict[str, Any]]:
    """The trainings behind a model of the package, and its own."""
    from faceflax.models import shipped

    last = shipped.manifest(name)
    run = {field: last[field] for field in ("kind", "step", "dataset", "commit", "command")}
    return [*last["before"], run | {"tasks": last["config"]["tasks"]}]


def last_start(made: dict[str, Any]) -> dict[str, Any]:
    """What the manifest of a workdir says of the code that took the last step."""
    last = [made, *made.get("resumed", [])][-1]
    command = re.sub(r"=/\S*/", "=", last["command"])  # places on the machine that trained it
    return {name: last[name] for name in OF_A_START} | {"command": command}
