"""What the loop measures of itself: each step's metrics, the seconds it took, and the seconds it waited for input."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from faceflax.metrics import compute, merge
from faceflax.training.state import Metrics


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

    def __init__(self):
        self._pending: tuple[int, Metrics] | None = None
        self._clock_runs = False
        self._clear()

    def _clear(self) -> None:
        self._sums: Metrics = {}
        self._timed_steps = 0
        self._waited = 0.0
        self._paused = 0.0
        self._start = time.perf_counter()

    def next_batch(self, batches: Iterator[Any]) -> Any:
        """Takes the next batch, and counts the time it takes as waiting for input."""
        asked = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - asked
        return batch

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
        sums = jax.device_get(sums)
        if not all(np.isfinite(sums[name][0]) for name in ("loss", "grad_norm")):
            raise NotFiniteError(step)
        self._sums = merge(self._sums, sums) if self._sums else sums
        self._timed_steps += 1
        if not self._clock_runs:
            self._clock_runs, self._timed_steps = True, 0
            self._waited, self._start = 0.0, time.perf_counter()

    def pause(self, since: float) -> None:
        """Leaves the time since `since` (of `time.perf_counter`) out: it was not training."""
        self._paused += time.perf_counter() - since

    def read(self) -> dict[str, float]:
        """Returns the metrics' means since the last reading, and clears them.

        With at least one timed step, `seconds_per_step` and `input_wait` (share of the time, 0 to 1) are among them.
        """
        self.settle()
        means = compute({name: sums for name, sums in self._sums.items() if sums[1] > 0})
        if self._timed_steps:
            seconds = time.perf_counter() - self._start - self._paused
            means |= {"seconds_per_step": seconds / self._timed_steps, "input_wait": self._waited / seconds}
        self._clear()
        return means
