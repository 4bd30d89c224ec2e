"""Runs a sweep's trials on this machine, several at a time, until none is left."""

import dataclasses
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faceflax.errors import RefusedError, UserError
from faceflax.sweeps.file import Sweep, command
from faceflax.sweeps.store import Store, Trial
from faceflax.training import processes, tracking, workdir

_POLL = 0.2  # seconds between two looks at the trials


@dataclasses.dataclass
class _Running:
    """A trial under way."""

    trial: Trial
    process: subprocess.Popen
    folder: Path
    slot: str
    is_stopped_early: bool = False


def run(sweep: Sweep, store: Store, folder: Path, *, slots: Sequence[str], say: Callable[[str], None]) -> int:
    """Works on the sweep until nothing is left to do.

    Trial n runs in `folder/trial-000n`, which its command gets as `--workdir`, and prints into `folder/trial-000n.log`.

    Args:
      sweep: the sweep.
      store: its trials.
      folder: the sweep's own.
      slots: one for each trial that runs at once: the GPU that it sees alone, or "" for all devices there are.
      say: called with a line when a trial starts or ends.

    Returns:
      0, or the number of the signal (SIGTERM, SIGINT, SIGHUP) that ended it: then the trials under way have saved, and
      are taken up again by the next agent.

    Raises:
      UserError: the command cannot be started.
    """
    free, waiting, running = list(slots), [], []
    with processes.signals() as received:
        try:
            while not received and (waiting or running or not store.is_over()):
                while free and not received and (trial := store.ask()):
                    waiting.append((trial, free.pop()))
                for trial, slot in [each for each in waiting if _is_free(folder / _name(each[0]))]:
                    waiting.remove((trial, slot))
                    running.append(_start(sweep, store.identity, trial, folder, slot))
                    say(f"{_name(trial)} starts: {describe(trial.point)}")
                _collect(sweep, running, free, say)
                time.sleep(_POLL)
        finally:
            for trial, _ in waiting:
                trial.interrupt()
            _stop(sweep, running, received or [signal.SIGTERM])
    return received[0] if received else 0


def _name(trial: Trial) -> str:
    return f"trial-{trial.slot:04d}"


def describe(point: dict) -> str:
    """Returns a point as text, numbers to four digits."""
    parts = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in point.items())
    return ", ".join(parts)


def _start(sweep: Sweep, identity: str, trial: Trial, folder: Path, slot: str) -> _Running:
    place = folder / _name(trial)
    variables = {"WANDB_RUN_GROUP": sweep.name, "WANDB_RUN_ID": f"{sweep.name}-{identity}-{_name(trial)}"}
    if slot:
        variables["CUDA_VISIBLE_DEVICES"] = slot
    words = command(sweep, trial.point, (f"--workdir={place}",))
    try:
        with (folder / f"{_name(trial)}.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | variables,
                start_new_session=True,  # an interrupt from the terminal reaches it once, from here
            )
    except OSError as error:
        trial.interrupt()
        raise UserError(f"the sweep's command {words[0]} cannot be started: {error.strerror}") from error
    return _Running(trial, process, place, slot)


def _is_free(place: Path) -> bool:
    """Whether nothing trains there: a training may outlive its agent when that was killed, and is left to end."""
    try:
        with workdir.locked(place):
            return True
    except UserError:
        return False


def _collect(sweep: Sweep, running: list[_Running], free: list[str], say: Callable[[str], None]) -> None:
    """Reports what the trials under way have measured, and takes out those that have ended."""
    for each in list(running):
        values = _measured(each.folder, sweep.metric)
        for number, value in enumerate(values, 1):
            if each.trial.report(number, value) and not each.is_stopped_early:
                each.is_stopped_early = True
                each.process.send_signal(signal.SIGTERM)
        if each.process.poll() is not None:
            running.remove(each)
            free.append(each.slot)
            say(f"{_name(each.trial)} {_end(sweep, each, _measured(each.folder, sweep.metric))}")


def _end(sweep: Sweep, each: _Running, values: list[float]) -> str:
    """Records how a trial ended, and returns it in words."""
    status, again = each.process.returncode, True
    if values and not math.isfinite(values[-1]) and (status == 0 or each.is_stopped_early):
        reason = f"{sweep.metric} is {values[-1]}"
    elif each.is_stopped_early and status:
        each.trial.stop_early()
        return f"stopped early at {sweep.metric} {values[-1]:.4g}"
    elif status == 0 and values:
        each.trial.complete(values[-1])
        return f"ends with {sweep.metric} {values[-1]:.4g}"
    elif status == RefusedError.status:
        reason, again = "refused", False
    else:
        reason = f"status {status}" if status else f"no {sweep.metric} in its metrics.jsonl"
    each.trial.fail(reason, again=again)
    return f"failed ({reason}); {each.folder}.log says why"


def _measured(folder: Path, metric: str) -> list[float]:
    return [line[metric] for line in tracking.read_metrics(folder, metric)]


def _stop(sweep: Sweep, running: list[_Running], received: list[int]) -> None:
    """Passes each signal on to the trials, until all have saved and ended; their slots go back."""
    passed = 0
    while running:
        for number in received[passed:]:
            passed += 1
            for each in running:
                each.process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
        for each in [each for each in running if each.process.poll() is not None]:
            running.remove(each)
            if each.process.returncode == 0:
                _end(sweep, each, _measured(each.folder, sweep.metric))
            else:
                each.trial.interrupt()
        time.sleep(_POLL)
