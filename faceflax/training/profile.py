"""A trace of some of a run's steps, for TensorBoard's profiler and Perfetto."""

from pathlib import Path

import jax

from faceflax.config import profiled_steps
from faceflax.errors import UserError
from faceflax.training.meter import Meter


def traced_steps(text: str, total: int) -> range:
    """Returns the steps that `config.profile` names; raises `UserError` when all come after `total` steps, the last."""
    steps = profiled_steps(text)
    if steps and steps.start >= total:
        raise UserError(
            f'config.profile "{text}" begins after the last step: the run has {total}; '
            "name steps before its end, or give a longer config.train.duration"
        )
    return steps


class Profile:
    """Traces the steps that `config.profile` names, once; each process writes what it sees.

    A run that begins within the range traces what is left of it, one that begins after it nothing.
    """

    def __init__(self, steps: range, folder: Path):
        """Traces step `steps.start` to the one before `steps.stop`, counted in steps done before, into `folder`."""
        self._steps = steps
        self._folder = folder
        if jax.process_count() > 1:  # processes of one host would write the same file
            self._folder = folder / f"process-{jax.process_index()}"
        self._runs = False

    def follow(self, step: int, meter: Meter) -> None:
        """Begins or ends the trace where that is due after `step` steps; only then the devices are waited for."""
        if self._runs == (step in self._steps):
            return
        meter.settle()
        with meter.timed("profile"):
            if self._runs:
                self.close()
            else:
                jax.profiler.start_trace(self._folder)
                self._runs = True

    def close(self) -> None:
        """Ends a trace under way and writes it."""
        if self._runs:
            self._runs = False
            jax.profiler.stop_trace()
