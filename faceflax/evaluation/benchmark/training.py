"""Trains a benchmark's runs, each in a process of its own, and stops them when it is stopped itself."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark.plan import Run
from faceflax.files import write_text
from faceflax.training import processes

Command = Callable[[Path, Path], list[str]]
_POLL = 0.1  # seconds between two looks at the processes


def train(runs: Sequence[Run], command: Command, *, workers: int) -> int:
    """Trains the runs that are not yet trained, each after the one it starts from.

    Args:
      runs: all runs of the benchmark.
      command: `(config file, workdir) -> argv` of a program that trains, takes a stopped training up again, and ends
        with status 0 only when the training is complete.
      workers: trainings at once; 0: one for each GPU, else one. With several GPUs each training has its own.

    Returns:
      0 when everything is trained; the number of the signal (SIGTERM, SIGINT, SIGHUP) that ended it early, after the
      trainings under way have saved.

    Raises:
      UserError: a training failed (the others were stopped, after saving), or what one started from, or its
        configuration, has changed.
    """
    waiting = [run for run in runs if not run.is_trained]
    if not waiting:
        return 0
    for run in waiting:
        run.claim_start()
    devices = processes.gpus() if workers != 1 else []
    slots = devices[: workers or None] or [""] * max(1, workers)
    with processes.signals() as received:
        pool = _Pool(command, slots)
        try:
            while (waiting or pool.active) and not received:
                _advance(waiting, pool)
                time.sleep(_POLL)
        except BaseException:
            received.append(signal.SIGTERM)
            raise
        finally:
            pool.stop(received)
        return received[0] if received else 0


def _advance(waiting: list[Run], pool: "_Pool") -> None:
    """Notes which trainings have ended, and starts of those that wait as many as can be."""
    for run, status in pool.finished():
        if status:
            raise UserError(
                f"training {run.name} ended with status {status} and said why above; where that asks for another "
                f"--workdir, delete {run.workdir} instead"
            )
        run.mark_trained()
    blocked = {run.name for run in (*waiting, *pool.active)}
    for run in [run for run in waiting if run.after not in blocked][: pool.free]:
        waiting.remove(run)
        pool.start(run)


class _Pool:
    """The trainings under way, each in a slot: a GPU, or "" for whatever devices there are."""

    def __init__(self, command: Command, slots: Sequence[str]):
        self._command = command
        self._slots = list(slots)
        self._under_way: dict[str, tuple[Run, subprocess.Popen, threading.Thread, str]] = {}

    @property
    def active(self) -> list[Run]:
        return [run for run, *_ in self._under_way.values()]

    @property
    def free(self) -> int:
        return len(self._slots)

    def start(self, run: Run) -> None:
        config = run.workdir.with_name(f"{run.name}.json")
        write_text(config, config_lib.to_json(run.config) + "\n")
        slot = self._slots.pop(0)
        process = subprocess.Popen(
            self._command(config, run.workdir),
            env=os.environ | ({"CUDA_VISIBLE_DEVICES": slot} if slot else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # an interrupt from the terminal reaches it once, from here
        )
        reader = threading.Thread(target=_echo, args=(run.name, process), daemon=True)
        reader.start()
        self._under_way[run.name] = (run, process, reader, slot)

    def finished(self) -> list[tuple[Run, int]]:
        """Takes out the trainings that have ended since; returns them with their exit statuses."""
        ended = []
        for name, (run, process, reader, slot) in list(self._under_way.items()):
            if process.poll() is not None:
                reader.join()
                self._slots.append(slot)
                del self._under_way[name]
                ended.append((run, process.returncode))
        return ended

    def stop(self, received: list[int]) -> None:
        """Passes each signal on to every training, those that come meanwhile as well, until all have ended.

        A closed terminal's SIGHUP, on which a training would end without saving, becomes a SIGTERM.
        """
        passed = 0
        while self._under_way:
            for number in received[passed:]:
                passed += 1
                for _, process, *_ in self._under_way.values():
                    process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
            self.finished()
            time.sleep(_POLL)


def _echo(name: str, process: subprocess.Popen) -> None:
    """Prints what a training prints, under its name."""
    for line in process.stdout:
        with contextlib.suppress(OSError):  # of a terminal that was closed: the training must not wait for a reader
            print(f"{name}  {line}", end="", flush=True)
