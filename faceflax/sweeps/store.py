"""The trials of a sweep on disk, shared by every agent that pulls from it. The only user of optuna.

A sweep's points are its slots: of a grid all of them and of a random search as many as are asked for, written down when
the sweep is made; of a Bayesian search one at a time, from what is known. A slot may take several trials, in Optuna's
words: one that was interrupted goes on as a new one, one that failed is tried once more. Optuna's journal is one file,
safe under several processes and machines.
"""

import contextlib
import dataclasses
import fcntl
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from faceflax.errors import UserError
from faceflax.sweeps.file import Sweep
from faceflax.sweeps.space import Parameter, Point, Space

_TRIES = 2
_SLOT, _POINT, _TRY, _AGENT, _REASON = "slot", "point", "try", "agent", "reason"  # what we note of each trial
INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class Result:
    """The last trial of a slot.

    `state` is "complete", "stopped early", "failed", "running", "interrupted" or "waiting"; `value` the metric's last
    value, or None.
    """

    slot: int
    point: Point
    state: str
    value: float | None
    reason: str


class Trial:
    """A slot that this agent works on."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial):
        self._study, self._trial = study, trial
        self.slot: int = trial.user_attrs[_SLOT]
        self.point: Point = trial.user_attrs[_POINT]
        self._reported: set[int] = set()

    def report(self, number: int, value: float) -> bool:
        """Notes the metric's value at evaluation `number` (from 1); returns whether the trial should end early."""
        if number in self._reported:
            return False
        self._reported.add(number)
        self._trial.report(value, number)
        return self._trial.should_prune()

    def complete(self, value: float) -> None:
        """Ends the trial with its result."""
        self._study.tell(self._trial, value)

    def stop_early(self) -> None:
        """Ends the trial as one that the others left behind."""
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def fail(self, reason: str, *, again: bool) -> None:
        """Ends the trial without a result; its slot is tried once more, if that is to be done `again`."""
        self._end(reason)
        if again and self._trial.user_attrs[_TRY] < _TRIES:
            _enqueue(self._study, self.slot, self.point, self._trial.user_attrs[_TRY] + 1)

    def interrupt(self) -> None:
        """Ends the trial because this agent ends; its slot is taken up again by whoever comes next."""
        self._end(INTERRUPTED)
        _enqueue(self._study, self.slot, self.point, self._trial.user_attrs[_TRY])

    def _end(self, reason: str) -> None:
        self._trial.set_user_attr(_REASON, reason)
        self._study.tell(self._trial, state=TrialState.FAIL)


class Store:
    """The folder of a sweep: `journal.log`, and a lock for each agent that is alive in `agents/`."""

    def __init__(self, folder: Path, sweep: Sweep, *, seed: int, count: int | None):
        """Opens the sweep, or makes it.

        Raises `UserError` when the folder holds another sweep, when a random or Bayesian search has no end, or when
        this version of Optuna has no such distribution.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep, self._count = sweep, count or sweep.run_cap
        if self._count is None and sweep.method != "grid":
            raise UserError(f"a {sweep.method} sweep has no end: give it run_cap in its file, or --count")
        self._distributions = _distributions(sweep.space) if sweep.method == "bayes" else {}
        self._folder = folder
        (folder / "agents").mkdir(parents=True, exist_ok=True)
        # A container that is started anew often has its former name and process number.
        self._agent = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = (folder / "agents" / self._agent).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._study = self._open(seed)

    def _open(self, seed: int) -> optuna.Study:
        storage = JournalStorage(JournalFileBackend(str(self._folder / "journal.log")))
        study = optuna.create_study(
            storage=storage,
            study_name=self._sweep.name,
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=_pruner(self._sweep),
            direction="maximize" if self._sweep.maximize else "minimize",
            load_if_exists=True,
        )
        described = {"source": self._sweep.source, "seed": seed}
        with self._alone():
            known = study.user_attrs.get("sweep")
            if known is None:
                study.set_user_attr("sweep", described)
            elif known != described:
                raise UserError(f"{self._folder} holds another sweep, or another seed; choose another --workdir")
            if "identity" not in study.user_attrs:
                study.set_user_attr("identity", uuid.uuid4().hex[:6])
            there = _slots(study.get_trials(deepcopy=False))
            for slot, point in enumerate(self._points(seed)):
                if slot not in there:  # all of them at first; later those that a larger count adds
                    _enqueue(study, slot, point, 1)
        return study

    @property
    def identity(self) -> str:
        """A word that tells this sweep's runs from those of others of its name, in other folders or of other seeds."""
        return self._study.user_attrs["identity"]

    def _points(self, seed: int) -> list[Point]:
        if self._sweep.method == "grid":
            return self._sweep.space.grid()[: self._count]
        if self._sweep.method == "random":
            return [self._sweep.space.draw(seed, number) for number in range(self._count)]
        return []

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other agents from choosing at the same time."""
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def ask(self) -> Trial | None:
        """Returns the next slot to work on, or None when there is none left for this agent to take."""
        with self._alone():
            self._requeue_orphans()
            trials = self._study.get_trials(deepcopy=False)
            if not self._is_any_left(trials):
                return None
            trial = self._study.ask(self._distributions)
            if _SLOT not in trial.user_attrs:
                _note(trial, len(_slots(trials)), dict(trial.params), 1)
            trial.set_user_attr(_AGENT, self._agent)
            return Trial(self._study, trial)

    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._alone():
            self._requeue_orphans()
            trials = self._study.get_trials(deepcopy=False)
        if any(trial.state == TrialState.RUNNING for trial in trials):
            return False
        return not self._is_any_left(trials)

    def _is_any_left(self, trials: list[FrozenTrial]) -> bool:
        """Whether a slot waits, or a Bayesian search may make one."""
        if self._is_reached(trials):
            return False
        is_open = self._sweep.method == "bayes" and len(_slots(trials)) < self._count
        return is_open or any(trial.state == TrialState.WAITING for trial in trials)

    def _is_reached(self, trials: list[FrozenTrial]) -> bool:
        target, sign = self._sweep.target, 1 if self._sweep.maximize else -1
        values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
        return target is not None and any(sign * value >= sign * target for value in values)

    def _requeue_orphans(self) -> None:
        """Gives back the slots of agents that were killed: the system let go of their locks."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            agent = trial.user_attrs.get(_AGENT)
            if agent != self._agent and not self._is_alive(agent):
                self._study.tell(trial.number, state=TrialState.FAIL)
                if _SLOT in trial.user_attrs:
                    attributes = trial.user_attrs
                    _enqueue(self._study, attributes[_SLOT], attributes[_POINT], attributes[_TRY])

    def _is_alive(self, agent: str | None) -> bool:
        if agent is None or not (self._folder / "agents" / agent).exists():
            return False
        with (self._folder / "agents" / agent).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def results(self) -> list[Result]:
        """Returns what became of every slot, in order: of its trials the last, or the one that was interrupted."""
        trials: dict[int, list[FrozenTrial]] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if _SLOT in trial.user_attrs:
                trials.setdefault(trial.user_attrs[_SLOT], []).append(trial)
        return [_result(slot, trials[slot]) for slot in sorted(trials)]

    def close(self) -> None:
        """Lets go of this agent's lock."""
        (self._folder / "agents" / self._agent).unlink(missing_ok=True)
        self._lock.close()


_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped early",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def _result(slot: int, trials: list[FrozenTrial]) -> Result:
    trial = trials[-1]
    state = _STATES.get(trial.state, "failed")
    is_same_try = len(trials) > 1 and trials[-2].user_attrs[_TRY] == trial.user_attrs[_TRY]
    if trial.state == TrialState.WAITING and is_same_try:
        trial, state = trials[-2], INTERRUPTED  # what waits goes on from where it was
    known = trial.intermediate_values
    value = trial.value if trial.state == TrialState.COMPLETE else known[max(known)] if known else None
    return Result(slot, trial.user_attrs[_POINT], state, value, trial.user_attrs.get(_REASON, ""))


def _slots(trials: list[FrozenTrial]) -> set[int]:
    return {trial.user_attrs[_SLOT] for trial in trials if _SLOT in trial.user_attrs}


def _enqueue(study: optuna.Study, slot: int, point: Point, tries: int) -> None:
    study.enqueue_trial(point, user_attrs={_SLOT: slot, _POINT: point, _TRY: tries})


def _note(trial: optuna.Trial, slot: int, point: Point, tries: int) -> None:
    for name, value in {_SLOT: slot, _POINT: point, _TRY: tries}.items():
        trial.set_user_attr(name, value)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    if sweep.hyperband is None:
        return optuna.pruners.NopPruner()
    if sweep.hyperband.strict:
        raise UserError("early_terminate: --backend=local does not know strict; leave it out")
    # What W&B calls hyperband is one bracket of it, successive halving.
    return optuna.pruners.SuccessiveHalvingPruner(sweep.hyperband.min_iter, sweep.hyperband.eta)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(name, parameter) for name, parameter in space.parameters.items()}


def _distribution(name: str, parameter: Parameter) -> BaseDistribution:
    if parameter.distribution == "int_uniform":
        return IntDistribution(parameter.options["min"], parameter.options["max"])
    if parameter.distribution in ("constant", "categorical"):
        return CategoricalDistribution(parameter.choices())
    bounds = parameter.bounds()
    if bounds is None or (bounds[-1] and parameter.step is not None):
        raise UserError(
            f"parameter {name}: method bayes with --backend=local does not know {parameter.distribution}; give the "
            "parameter another distribution, or use method: random"
        )
    low, high, is_log = bounds
    return FloatDistribution(low, high, log=is_log, step=parameter.step)
