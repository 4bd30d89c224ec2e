"""From trained runs to filled cells, and from filled cells to the report."""

import dataclasses
import datetime
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from faceflax import aside, models, objectives
from faceflax import config as config_lib
from faceflax.datasets.registry import Source
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import measure as measure_lib
from faceflax.evaluation.benchmark import analysis, budgets, cells, checks, discriminators, efficiency, measuring
from faceflax.evaluation.benchmark import faces as faces_lib
from faceflax.evaluation.benchmark import known as known_lib
from faceflax.evaluation.benchmark import report as report_lib
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.evaluation.benchmark.analysis import Results
from faceflax.evaluation.benchmark.discriminators import Opponent
from faceflax.evaluation.benchmark.known import Known
from faceflax.evaluation.benchmark.measuring import Method
from faceflax.evaluation.benchmark.plan import Run
from faceflax.files import write_json
from faceflax.models import discriminator as discriminator_lib
from faceflax.progress import progress_bar
from faceflax.training import checkpoints, examples, parallel, runtime
from faceflax.training import workdir as workdir_lib
from faceflax.training.parallel import Parallel
from faceflax.training.trained import Trained, between, read_config, read_manifest


def check_at_hand(settings: ConfigDict, runs: Sequence[Run]) -> None:
    """Raises `UserError` for what can be known to end the benchmark before anything is trained.

    That is data, a judge or a network of an arm's loss that is missing, and what `checks.check` finds. With nothing to
    train, all is left to `measure`, which may need no judge, but for the costs of training. Uses no device.
    """
    _source(settings)
    if not all(run.is_trained for run in runs):
        faces_lib.load_judges(settings)
        counts = {run.arm: examples.count(run.config.data) for run in runs if not run.is_trained}
        aside.call(checks.check, settings, runs, counts, platform="cpu")
    for arm in settings.arms:
        of_arm = [run for run in runs if run.arm == arm]
        waiting = [run for run in of_arm if not run.is_trained]
        if waiting:
            without = f"train without this term: --config.experiments.{arm}.loss.{{name}}=0"
            objectives.load_networks(waiting[0].config.loss, without)
        elif settings.efficiency.rounds:
            trained = read_config(of_arm[0].workdir)
            objectives.load_networks(trained.loss, f"do not time {arm}'s training: --config.efficiency.rounds=0")


def _source(settings: ConfigDict) -> Source:
    return examples.load(settings.data, settings.data.split)


def measure(settings: ConfigDict, runs: Sequence[Run], workdir: Path) -> None:
    """Fills the cells of `workdir` and writes `measured.json`: what was measured, on what, with what.

    Raises `UserError` as `checks.load`, when a judge cannot be fetched, or the disk is full.
    """
    runtime.start()
    if jax.process_count() > 1:
        raise UserError("a benchmark is measured by one process; train the arms apart and name them in config.trained")
    trained = {run.name: checks.load(run, settings) for run in runs}
    source = _source(settings)
    devices = parallel.create({"data": -1, "fsdp": 1})
    tasks = settings_lib.all_tasks(settings)
    faces = faces_lib.Faces(source, settings, tasks, devices, settings.data.label)
    maker = known_lib.made_by(settings, faces.fingerprint)
    faces.known = known_lib.read(workdir, maker)
    methods = [measuring.untouched(tasks), measuring.classical(tasks)]
    methods += _networks(settings, trained, tasks, devices)
    with progress_bar() as progress:
        bar = progress.add_task("measuring", total=sum(len(method.tasks) for method in methods))
        degraded = measuring.fill(workdir, faces, methods, lambda count: progress.advance(bar, count))
    known_lib.write(workdir, maker, Known(faces.judges, faces.known.degraded | degraded))
    judged = {task: degraded[str(task)] for task in settings_lib.table_tasks(settings)}
    discriminators.fill(workdir, faces, judged, _opponents(runs, trained, methods, devices), devices)
    measured = _measured(settings, runs, trained, source, faces, degraded)
    measured["efficiency"] = _efficiency(settings, runs, trained, workdir / "efficiency.json")
    write_json(workdir / "measured.json", measured)


def _networks(
    settings: ConfigDict, trained: dict[str, Trained], tasks: Sequence[Task], devices: Parallel
) -> list[Method]:
    """The trained runs, and the networks between two of them; those of one architecture share a compiled program."""

    @functools.cache
    def program(model: str) -> Any:
        config = next(each.config for each in trained.values() if each.config.model.to_json() == model)
        return devices.compile_batched(measure_lib.create_restore(models.create(config.model).apply))

    def method(name: str, step: int, config: ConfigDict, params: Any, measured_on: Sequence[Task]) -> Method:
        made_from = {"step": step, "model": config.model.to_dict()}
        return measuring.network(name, made_from, program(config.model.to_json()), params, devices, measured_on)

    found = [method(name, each.info["step"], each.config, each.params, tasks) for name, each in trained.items()]
    for value in settings_lib.fidelity_between(settings):
        cnn, gan = (trained[f"{settings.fidelity[end]}-{settings.seeds[0]}"] for end in ("cnn", "gan"))
        network = between(cnn, gan, value)
        name, some = settings_lib.fidelity_name(value), settings_lib.fidelity_tasks(settings)
        found.append(method(name, gan.info["step"], network.config, network.params, some))
    return found


def _opponents(
    runs: Sequence[Run], trained: dict[str, Trained], methods: Sequence[Method], devices: Parallel
) -> list[Opponent]:
    """The discriminators of the runs that have one, each to judge all arms of its seed."""
    found = []
    for run in runs:
        if trained[run.name].config.arm == "gan" and not run.is_shipped:
            loaded = checkpoints.load_discriminator(run.workdir)
            discriminator = discriminator_lib.create(loaded.config.gan)
            discriminate = devices.compile_batched(measure_lib.create_discriminate(discriminator))
            names = {other.name for other in runs if other.seed == run.seed}
            judged = [method for method in methods if method.name in names]
            found.append(Opponent(run.name, discriminate, loaded.params, judged))
    return found


def _measured(
    settings: ConfigDict,
    runs: Sequence[Run],
    trained: dict[str, Trained],
    source: Any,
    faces: faces_lib.Faces,
    degraded: dict[str, str],
) -> dict[str, Any]:
    """What another group needs to measure the same, and to see that it did."""
    data = settings.data
    return workdir_lib.provenance() | {
        "config": config_lib.fingerprint(settings),
        "dataset": {
            "name": data.dataset,
            "split": data.split,
            "fingerprint": source.fingerprint,
            "image_size": data.image_size,
            "images": faces.num_images,
            "clean": faces.fingerprint,
        },
        "degraded": {"fingerprint": cells.fingerprint(sorted(degraded.items())), "tasks": degraded},
        "judges": faces.judges,
        "runs": {run.name: _describe(run, trained[run.name], runs) for run in runs},
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _efficiency(settings: ConfigDict, runs: Sequence[Run], trained: dict[str, Trained], file: Path) -> dict[str, Any]:
    """The costs of each arm's first run, as they lie in `file`; measured again when what decides them has changed."""
    if not settings.efficiency.rounds:
        return {}
    first = {run.arm: run for run in reversed(runs)}
    first = {arm: first[arm] for arm in settings.arms}
    made_from = {
        "format": cells.FORMAT,
        "costs": [field.name for field in dataclasses.fields(efficiency.Efficiency)],
        "settings": settings.efficiency.to_dict() | {"batch_size": settings.eval.batch_size},
        "runs": {arm: config_lib.fingerprint(trained[run.name].config) for arm, run in first.items()},
        "device": workdir_lib.provenance()["device"],
    }
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["made_from"] == made_from:
            return known
    measured_by = cells.measurer()
    costs = efficiency.measure_all(
        settings,
        {arm: trained[run.name] for arm, run in first.items()},
        {arm: _seconds(run) for arm, run in first.items()},
    )
    found = {"made_from": made_from, "measured_by": measured_by, "costs": efficiency.to_json(costs)}
    write_json(file, found)
    return found


def _describe(run: Run, trained: Trained, runs: Sequence[Run]) -> dict[str, Any]:
    made = read_manifest(run.workdir)
    return budgets.describe(run, trained, runs) | {
        "arm": run.arm,
        "seed": run.seed,
        "workdir": str(run.workdir),
        "init_from": run.after.removesuffix(f"-{run.seed}") or trained.config.init_from,
        "kind": trained.config.arm,
        "batch_size": trained.config.data.batch_size,
        "model": trained.config.model.to_dict(),
        "loss": trained.config.loss.to_dict(),
        "optim": trained.config.optim.to_dict(),
        "gan": trained.config.gan.to_dict() if trained.config.arm == "gan" else {},
        "style": trained.config.inversion.style if trained.config.arm == "inversion" else 0.0,
        "step": trained.info["step"],
        "duration": trained.config.train.duration,
        "params": cells.fingerprint(trained.params),
        "config": config_lib.fingerprint(trained.config),
        "commit": made.get("commit", ""),
        "seconds": _seconds(run),
    }


def _seconds(run: Run) -> float:
    if run.is_shipped:
        return read_manifest(run.workdir).get("seconds", math.nan)
    return efficiency.training_seconds(run.workdir)


def report(settings: ConfigDict, runs: Sequence[Run], workdir: Path) -> tuple[Results, list[Path]]:
    """Writes `report/` from the cells alone; returns what they say, and the files.

    Raises `UserError` when it cannot be written.
    """
    measured = json.loads((workdir / "measured.json").read_text(encoding="utf-8"))
    found = analysis.load(settings, runs, workdir)
    opponents = [run.name for run in runs if measured["runs"][run.name]["kind"] == "gan" and not run.is_shipped]
    judged = discriminators.load(workdir, found, opponents)
    measured["measured_by"] = _measurers(found, judged, measured["efficiency"])
    return found, report_lib.write(found, judged, measured, workdir)


def _measurers(results: Results, judged: report_lib.Judged, costs: dict[str, Any]) -> list[dict[str, str]]:
    """The distinct commits and versions that measured what is reported; one unless code changed in between."""
    found = [results.clean, *results.cells.values()]
    found += [cell for by_task in judged.values() for cell in by_task.values()]
    names = {json.dumps(cell.measured_by, sort_keys=True) for cell in found}
    names |= {json.dumps(costs["measured_by"], sort_keys=True)} if costs else set()
    return [json.loads(name) for name in sorted(names)]
