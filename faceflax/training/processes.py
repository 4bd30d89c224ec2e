"""What programs share that train in processes of their own: the GPUs to hand out, and the signals to pass on."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_PROBE = "import jax; print(jax.local_device_count() if jax.default_backend() == 'gpu' else 0)"


def gpus() -> list[str]:
    """Returns the GPUs that JAX sees, as CUDA_VISIBLE_DEVICES names them; empty where there are none, or TPUs.

    Asked in a process of its own: this one must not hold the devices' memory while others train. Where that process
    fails, stderr is told that none are known.
    """
    answer = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    if answer.returncode:
        why = (answer.stderr.splitlines() or [f"status {answer.returncode}"])[-1]
        print(f"no GPUs are handed out, as JAX does not tell which there are: {why}", file=sys.stderr, flush=True)
        return []
    count = int(answer.stdout)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if count and visible else [str(number) for number in range(count)]


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Yields the list that SIGTERM, SIGINT and SIGHUP are added to, while the block runs."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)

    heeded = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    former = {number: signal.signal(number, note) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
