"""Measures recognition: python -m experiments.recognition --config=configs/recognition.py --workdir=runs/recognition.

Writes the vectors of every way and task into WORKDIR/vectors/, and WORKDIR/report/. The same command goes on where it
was stopped, from the next task.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import program
from faceflax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "The trial: configs/recognition.py, fields as --config.x=y.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for vectors and the report.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import jax

    from faceflax.datasets import registry
    from faceflax.degradations import flatten
    from faceflax.evaluation.tables import to_text
    from faceflax.progress import progress_bar
    from faceflax.recognition import costs, trial, trial_report
    from faceflax.training import parallel, runtime, workdir

    config, folder = _CONFIG.value, Path(_WORKDIR.value)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    if config.batch_size < 1 or config.resamples < 1 or config.data.image_size < 32 or config.data.canvas < 0:
        raise UserError("batch_size and resamples must be at least 1, data.image_size 32, and data.canvas not below 0")
    runtime.start()
    data, tasks = config.data, (None, *(flatten(config.tasks) if config.tasks else ()))
    source = registry.load(data.dataset, data.split, data_dir=data.data_dir, folder=data.folder)
    faces = trial.load_faces(source, data.label, data.image_size, data.canvas)
    devices = parallel.one_device()
    describers = trial.load_describers(config.encoders, devices, config.batch_size)
    restorers = trial.load_restorers(config.restorers, devices)
    ways = (trial.DEGRADED, *restorers)
    with workdir.locked(folder), progress_bar(active=jax.process_index() == 0) as progress:
        measured = trial.Trial(
            faces, describers, restorers, folder=folder / "vectors", devices=devices, batch_size=config.batch_size
        )
        known, rows = measured.vectors(trial.CLEAN, None), []
        places = [(trial.CLEAN, None), *((way, task) for task in tasks[1:] for way in ways)]
        for way, task in progress.track(places, description="recognising"):
            sought = measured.vectors(way, task)
            rows += [
                trial_report.measure(
                    name, way, task, known[name], sought[name], faces.person, resamples=config.resamples
                )
                for name in describers
            ]
        manifest = workdir.provenance() | {
            "config": config.to_dict(),
            "dataset": {"name": data.dataset, "split": data.split, "fingerprint": source.fingerprint},
            "encoders": {name: describer.version for name, describer in describers.items()},
            "restorers": {name: restorer.version for name, restorer in restorers.items()},
        }
        signature = (
            f"faceflax {manifest['faceflax']}; {data.dataset} {data.split} ({source.fingerprint}), {len(faces.person)} "
            f"photographs of {faces.person.max() + 1} people at {data.image_size}x{data.image_size}, canvas "
            f"{data.canvas:g}; commit {manifest['commit'] or 'unknown'}"
        )
        shown = trial_report.tables(rows)
        if config.rounds:
            named = [name for name in describers if name != trial.JUDGE]
            sizes = {"image_size": data.image_size, "batch_size": config.batch_size}
            shown.append(costs.to_table(costs.measure(named, devices, **sizes, rounds=config.rounds)))
        written = trial_report.write(rows, shown, folder / "report", manifest, signature)
    print("\n".join(map(to_text, shown)))
    print(f"wrote {', '.join(path.name for path in written)} to {folder / 'report'}")
    return 0


if __name__ == "__main__":
    program.run(main)
