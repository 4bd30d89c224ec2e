"""Measures recognition: python -m experiments.recognition --config=configs/recognition.py --workdir=runs/recognition.

Writes the vectors of every way and task into WORKDIR/vectors/, and WORKDIR/report/. The same command goes on where it
was stopped, from the next task.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import program
from faceflax.errors import UserError

if TYPE_CHECKING:
    from faceflax.datasets import registry
    from faceflax.recognition import trial, trial_report

_CONFIG = config_flags.DEFINE_config_file("config", None, "The trial: configs/recognition.py, fields as --config.x=y.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for vectors and the report.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    from faceflax.evaluation.tables import to_text
    from faceflax.recognition import costs, trial, trial_report
    from faceflax.training import examples, parallel, runtime, workdir

    config, folder = _CONFIG.value, Path(_WORKDIR.value)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    if config.batch_size < 1 or config.resamples < 1 or config.data.image_size < 32 or config.data.canvas < 0:
        raise UserError("batch_size and resamples must be at least 1, data.image_size 32, and data.canvas not below 0")
    runtime.start()
    data = config.data
    source = examples.load(data, data.split)
    faces = trial.load_faces(source, data.label, data.image_size, data.canvas)
    devices = parallel.one_device()
    describers = trial.load_describers(config.encoders, devices, config.batch_size)
    restorers = trial.load_restorers(config.restorers, devices)
    with workdir.locked(folder):
        made = trial.Trial(
            faces, describers, restorers, folder=folder / "vectors", devices=devices, batch_size=config.batch_size
        )
        rows = compare(made, faces, config, describers, (trial.DEGRADED, *restorers))
        manifest = _manifest(config, source, describers, restorers)
        shown = trial_report.tables(rows)
        if config.rounds:
            named = [name for name in describers if name != trial.JUDGE]
            sizes = {"image_size": data.image_size, "batch_size": config.batch_size}
            shown.append(costs.to_table(costs.measure(named, devices, **sizes, rounds=config.rounds)))
        signature = _signature(config, manifest, faces)
        written = trial_report.write(rows, shown, folder / "report", manifest, signature)
    print("\n".join(map(to_text, shown)))
    print(f"wrote {', '.join(path.name for path in written)} to {folder / 'report'}")
    return 0


def compare(
    made: "trial.Trial", faces: "trial.Faces", config: ConfigDict, describers: Iterable[str], ways: Sequence[str]
) -> "list[trial_report.Row]":
    """Returns the rows of the report: clean faces, then every way under every task, by each of the encoders."""
    import jax

    from faceflax.degradations import flatten
    from faceflax.progress import progress_bar
    from faceflax.recognition import trial, trial_report

    tasks = flatten(config.tasks) if config.tasks else ()
    known, rows = made.vectors(trial.CLEAN, None), []
    with progress_bar(active=jax.process_index() == 0) as progress:
        places = [(trial.CLEAN, None), *((way, task) for task in tasks for way in ways)]
        for way, task in progress.track(places, description="recognising"):
            sought = made.vectors(way, task)
            rows += [
                trial_report.measure(
                    name, way, task, known[name], sought[name], faces.person, resamples=config.resamples
                )
                for name in describers
            ]
    return rows


def _manifest(
    config: ConfigDict,
    source: "registry.Source",
    describers: "Mapping[str, trial.Describer]",
    restorers: "Mapping[str, trial.Restorer]",
) -> dict[str, Any]:
    from faceflax.training import workdir

    return workdir.provenance() | {
        "config": config.to_dict(),
        "dataset": {"name": config.data.dataset, "split": config.data.split, "fingerprint": source.fingerprint},
        "encoders": {name: describer.version for name, describer in describers.items()},
        "restorers": {name: restorer.version for name, restorer in restorers.items()},
    }


def _signature(config: ConfigDict, manifest: Mapping[str, Any], faces: "trial.Faces") -> str:
    data = config.data
    return (
        f"faceflax {manifest['faceflax']}; {data.dataset} {data.split} ({manifest['dataset']['fingerprint']}), "
        f"{len(faces.person)} photographs of {faces.person.max() + 1} people at {data.image_size}x{data.image_size}, "
        f"canvas {data.canvas:g}; commit {manifest['commit'] or 'unknown'}"
    )


if __name__ == "__main__":
    program.run(main)
