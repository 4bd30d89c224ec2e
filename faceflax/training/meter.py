"""What the loop measures of itself: each step's metrics, what its time went into, and the devices' memory."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from faceflax.metrics import compute, merge
from faceflax.training.state import Metrics

TRAINING = ("input_wait", "dispatch", "device_wait")  # parts of a step that are timed
PAUSES = ("checkpoint", "evaluation", "profile")  # what is done between steps, and is not training


class NotFiniteError(Exception):
    """The loss or the gradient of a step is infinite or not a number."""

    def __init__(self, step: int):
        super().__init__(f"not finite at step {step}")
        self.step = step


class Meter:
    """Metrics and times summed over the steps since the last reading.

    A step's metrics are fetched from the device only after the next step was dispatched, so that it never idles. The
    clock starts when the very first step is done: its time is the compiler's.
    """

    def __init__(self, started: float | None = None, kept_seconds: float = 0.0):
        """Goes on from earlier runs of the workdir.

        Args:
          started: when the first of them began, in seconds since the epoch; None: now.
          kept_seconds: what the steps of theirs took that this run goes on from.
        """
        self._pending: tuple[int, Metrics] | None = None
        self._clock_runs = False
        self._started = time.time() if started is None else started
        self._kept_seconds = kept_seconds
        self._clear()

    def _clear(self) -> None:
        self._sums: Metrics = {}
        self._timed_steps = 0
        self._start_clock()

    def _start_clock(self) -> None:
        self._seconds = dict.fromkeys(TRAINING + PAUSES, 0.0)
        self._start = time.perf_counter()

    @property
    def is_empty(self) -> bool:
        """Whether no step was taken since the last reading."""
        return self._pending is None and not self._sums

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Counts the time that the block takes as `part`, one of `TRAINING` or `PAUSES`."""
        begun = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - begun

    def next_batch(self, batches: Iterator[Any]) -> Any:
        """Takes the next batch, and counts the time it takes as waiting for input."""
        with self.timed("input_wait"):
            return next(batches)

    def add(self, step: int, sums: Metrics) -> None:
        """Takes the metrics of the step just dispatched; raises `NotFiniteError` for the step before it."""
        self.settle()
        self._pending = (step, sums)

    def settle(self) -> None:
        """Waits for the last step's metrics; raises `NotFiniteError` when they are not finite."""
        if self._pending is None:
            return
        step, sums = self._pending
        self._pending = None
        with self.timed("device_wait"):
            sums = jax.device_get(sums)
        if not all(np.isfinite(sums[name][0]) for name in ("loss", "grad_norm")):
            raise NotFiniteError(step)
        self._sums = merge(self._sums, sums) if self._sums else sums
        self._timed_steps += 1
        if not self._clock_runs:
            self._clock_runs, self._timed_steps = True, 0
            self._start_clock()

    def read(self) -> dict[str, float]:
        """Returns the metrics' means since the last reading, and clears them.

        Among them are, once the clock runs:
          each of `TRAINING` and `PAUSES`: its share of the time since the last reading, 0 to 1.
          `seconds_per_step`: without pauses; with at least one timed step.
          `kept_seconds`: what all steps since the workdir's first start took, those that were lost left out.
          `goodput`: the share of these in all the time since the workdir's first start, 0 to 1.
        """
        self.settle()
        means = compute({name: sums for name, sums in self._sums.items() if sums[1] > 0})
        total = time.perf_counter() - self._start
        paused = sum(self._seconds[part] for part in PAUSES)
        if self._timed_steps:
            means["seconds_per_step"] = (total - paused) / self._timed_steps
        if self._timed_steps or paused:
            self._kept_seconds += total - paused
            means |= {part: seconds / total for part, seconds in self._seconds.items()}
            # A clock that was set back must not make it more than all.
            life = max(time.time() - self._started, self._kept_seconds)
            means |= {"kept_seconds": self._kept_seconds, "goodput": self._kept_seconds / life}
        self._clear()
        return means


def device_memory(devices: Sequence[Any]) -> dict[str, float]:
    """Returns `memory_bytes` and `memory_peak_bytes`, in use now and at most so far on the fullest of the devices.

    Empty where the backend does not tell, as on CPUs.
    """
    known = [stats for device in devices if (stats := device.memory_stats())]
    names = {"memory_bytes": "bytes_in_use", "memory_peak_bytes": "peak_bytes_in_use"}
    values = {name: [stats[key] for stats in known if key in stats] for name, key in names.items()}
    return {name: float(max(found)) for name, found in values.items() if found}
