"""Calls a function in a process of its own: this one then holds no device, which a training may need."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from faceflax.errors import UserError, ended_in_order


def call(function: Callable, *arguments: Any, platform: str = "") -> Any:
    """Returns `function(*arguments)`, or raises what it raises; the process ends with the call, whatever ends that.

    Args:
      function: one that a module has under its name; what it is given and returns is pickled.
      arguments: its arguments.
      platform: the only one whose devices it may use, as "cpu"; "": all.

    Raises:
      UserError: the process did not live.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, _start, (platform,))
    with ended_in_order(), pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process of this command was ended, perhaps for want of memory; run the same command to go on, with "
                "smaller batches if it happens again"
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()  # it would go on to its end
            raise


def _start(platform: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller too, which ends this process
    if platform:
        import jax

        jax.config.update("jax_platforms", platform)
