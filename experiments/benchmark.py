"""Compares arms: python -m experiments.benchmark --config=configs/benchmark/quick.py --workdir=runs/quick.

Trains every arm of the config with every seed into WORKDIR/arms/, measures them on one set of degraded faces into
WORKDIR/cells/, and writes WORKDIR/report/. The same command goes on where it was stopped: trainings from their newest
checkpoint, measuring from the next cell. Exit status: 0 when the report is written, 143 when SIGTERM, 130 when
Ctrl-C and 129 when a closed terminal ended it, 1 with one sentence for a mistake that the user can mend, 2
where that is a flag.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import program

_CONFIG = config_flags.DEFINE_config_file("config", None, "The benchmark: a file of configs/benchmark/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for trainings, cells and the report.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Runs the benchmark by the flags; returns the process's exit status."""
    from faceflax.errors import UserError
    from faceflax.evaluation.benchmark import plan, runner, settings, tables, training
    from faceflax.evaluation.tables import to_text
    from faceflax.training import workdir

    config, folder = _CONFIG.value, Path(_WORKDIR.value)
    settings.validate(config)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    with workdir.locked(folder):
        runs = plan.runs(config, folder)
        runner.check_at_hand(config, runs)
        stopped_by = training.train(runs, program.training_command, workers=config.workers)
        if stopped_by:
            print("stopped; run the same command to go on", flush=True)
            return 128 + stopped_by
        runner.measure(config, runs, folder)
        results, written = runner.report(config, runs, folder)
    print(to_text(tables.brief(results)))
    print(f"wrote {', '.join(path.name for path in written)} to {folder / 'report'}")
    return 0


if __name__ == "__main__":
    program.run(main)
