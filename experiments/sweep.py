"""Runs a sweep: python -m experiments.sweep --sweep=configs/sweeps/lr.yaml [--backend=local|wandb].

The file is an ordinary W&B sweep. `--backend=local` needs no server: it trains the points of a grid or a random search,
or those that Optuna proposes, `--parallel` at a time into WORKDIR/trial-NNNN, and ends with WORKDIR/report/. The same
command goes on where it was stopped; started on other machines over a shared folder, they share the work.
`--backend=wandb` registers the sweep with Weights & Biases (or joins `--id`) and runs an agent.

Exit status: 0 when every trial has a result, 1 when some have failed or for a mistake that the user can mend, 2 for a
flag that there is not, 128 plus the signal's number when one ended it.
"""

import importlib.util
from pathlib import Path

from absl import flags

from experiments import program
from faceflax.errors import UserError

_SWEEP = flags.DEFINE_string("sweep", None, "The sweep: a YAML file of configs/sweeps/.")
_BACKEND = flags.DEFINE_enum("backend", "local", ("local", "wandb"), "Who chooses the points and keeps the results.")
_WORKDIR = flags.DEFINE_string("workdir", "", "The sweep's folder (default: runs/sweeps/ and the file's name).")
_PARALLEL = flags.DEFINE_integer(
    "parallel", 0, "Trials at once here (default: one for each GPU, else one); not with wandb.", lower_bound=0
)
_COUNT = flags.DEFINE_integer(
    "count",
    None,
    "Trials in all, instead of the file's run_cap; with --backend=wandb the most that this agent runs, beside run_cap.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of random and Bayesian searches; with --backend=wandb the server has its own.")
_ID = flags.DEFINE_string("id", "", "For --backend=wandb: a sweep that is registered already, to join.")
flags.mark_flags_as_required(["sweep"])


def main() -> int:
    """Runs the sweep by the flags; returns the process's exit status."""
    _check_flags()
    from faceflax.sweeps import file
    from faceflax.training import cluster

    path = Path(_SWEEP.value)
    sweep = file.read(path)
    folder = Path(_WORKDIR.value or Path("runs/sweeps") / path.stem)
    cluster.forget()  # agents that srun starts are no run of several processes, and neither are their trials
    return _remote(sweep, folder) if _BACKEND.value == "wandb" else _local(sweep, folder)


def _check_flags() -> None:
    if _BACKEND.value == "local":
        if _ID.present:
            raise UserError("--id names a sweep of Weights & Biases; give --backend=wandb with it, or leave it out")
        return
    if _PARALLEL.present:
        raise UserError("an agent of Weights & Biases runs one trial at a time; start several instead of --parallel")
    if _SEED.present:
        raise UserError("the server of Weights & Biases draws the points by a seed of its own; leave --seed out")
    if _ID.present and _WORKDIR.present:
        raise UserError("a sweep's folder is settled when it is registered; leave --workdir out where there is --id")


def _local(sweep, folder: Path) -> int:
    if importlib.util.find_spec("optuna") is None:
        raise UserError("sweeps without a server keep their trials with Optuna: pip install 'faceflax[sweep]'")
    from faceflax.evaluation.tables import to_text
    from faceflax.sweeps import agent, report
    from faceflax.sweeps.store import Store
    from faceflax.training import processes, workdir

    slots = _slots(processes.gpus())
    store = Store(folder, sweep, seed=_SEED.value, count=_COUNT.value)
    try:
        stopped_by = agent.run(sweep, store, folder, slots=slots, say=lambda line: print(line, flush=True))
        results = store.results()
    finally:
        store.close()
    manifest = workdir.provenance() | {"sweep": sweep.source, "seed": _SEED.value}
    written = report.write(sweep, results, folder / "report", manifest)
    print(to_text(report.ranking(sweep, results)))
    print(f"wrote {', '.join(path.name for path in written)} to {folder / 'report'}")
    if stopped_by:
        print("stopped; run the same command to go on", flush=True)
        return 128 + stopped_by
    return int(any(result.state == "failed" for result in results))


def _slots(gpus: list[str]) -> list[str]:
    return gpus[: _PARALLEL.value or None] if gpus else [""] * max(1, _PARALLEL.value)


def _remote(sweep, folder: Path) -> int:
    from faceflax.training import tracking

    # The word stays as it is on its way to the agents; each training puts its own run's number in its place.
    identifier = _ID.value or tracking.register_sweep(sweep.source, (f"--workdir={folder}/$WANDB_RUN_ID",))
    print(f"agents join with: python -m experiments.sweep --sweep={_SWEEP.value} --backend=wandb --id={identifier}")
    tracking.run_sweep_agent(identifier, sweep.source, _COUNT.value)
    return 0


if __name__ == "__main__":
    program.run(main)
