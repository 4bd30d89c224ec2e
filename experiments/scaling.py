"""How training scales: python -m experiments.scaling --config=configs/scaling.py --workdir=runs/scaling.

Times and counts the training step on every number of devices that is here (of CPUs it simulates them), trains networks
of several sizes, and writes WORKDIR/report/: strong and weak scaling, step times predicted for pods, and the laws of
loss by compute, size and images. The same command goes on where it was stopped, and other machines add their cells when
they are given the same workdir one after another. Of several processes that share the devices the first one trains, and
writes. Exit status: 0 when the report is written, 128 plus the signal's number when one ended it, 1 with one sentence
for a mistake that the user can mend, 2 where that is a flag.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import program

_CONFIG = config_flags.DEFINE_config_file("config", None, "The study: a file of configs/, fields as --config.x=y.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for cells, trainings and the report.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Makes the study by the flags; returns the process's exit status."""
    from faceflax.errors import UserError
    from faceflax.evaluation.benchmark import training
    from faceflax.scaling import report, settings, sizes, stage
    from faceflax.training import cluster, workdir

    config, folder = _CONFIG.value, Path(_WORKDIR.value)
    settings.validate(config)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    runs = sizes.runs(config, folder)
    first = sizes.settled_step(config) if runs else 0
    found = stage.run(config, folder, runs)
    if not found.is_first:
        return 0
    report.check(found.cells)
    cluster.forget()
    with workdir.locked(folder):
        stopped_by = training.train(runs, program.training_command, workers=config.laws.workers)
        if stopped_by:
            print("stopped; run the same command to go on", flush=True)
            return 128 + stopped_by
        points = sizes.points(runs, found.sizes, first)
        written = report.write(config, found.cells, points, folder / "report", found.provenance)
    print(f"wrote {', '.join(path.name for path in written)} to {folder / 'report'}")
    return 0


if __name__ == "__main__":
    program.run(main)
