"""The processes of a run: how they find each other, and how they are asked to stop together."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

from faceflax.errors import UserError

_NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_COUNTS = {"SLURM_NTASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}  # who starts as many processes as each says
_TPU_HOSTS = "TPU_WORKER_HOSTNAMES"  # of a slice, as GKE sets it


def initialize_distributed() -> None:
    """Joins the other processes of a run, when the environment names them; does nothing for a lone process.

    Reads JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID; without them JAX finds the others
    by itself on SLURM, under Open MPI and in GKE, which names the hosts of a TPU slice. TPU VMs name nobody: there
    `launch/tpu_vm.sh` sets the three. Call it before the first use of a device. Raises `UserError` when only some of
    the three are set, a number is none, or the environment counts processes that JAX does not find.
    """
    values = [os.environ.get(name) for name in _NAMES]
    if not any(values):
        if _in_cluster():
            _join_cluster()
        return
    missing = [name for name, value in zip(_NAMES, values, strict=True) if not value]
    if missing:
        raise UserError(f"a run of several processes needs {' and '.join(missing)} in the environment as well")
    address, count, index = values
    if not (count.isdecimal() and index.isdecimal()):
        raise UserError(f"JAX_NUM_PROCESSES={count} and JAX_PROCESS_ID={index} must be whole numbers")
    jax.distributed.initialize(address, num_processes=int(count), process_id=int(index))


def _in_cluster() -> bool:
    tpu_hosts = os.environ.get(_TPU_HOSTS, "").split(",")
    return any(map(_counts_others, _COUNTS)) or len(tpu_hosts) > 1


def _counts_others(name: str) -> bool:
    return os.environ.get(name, "1") not in ("", "1")


def _join_cluster() -> None:
    try:
        jax.distributed.initialize()
    except ValueError as error:
        counted = [name for name in _COUNTS if _counts_others(name)]
        if not counted:
            raise
        name = counted[0]
        raise UserError(
            f"{name}={os.environ[name]} tells of other processes, and nothing where they are; "
            f"start it with {_COUNTS[name]}, or unset {name}"
        ) from error


def named_processes() -> int:
    """How many processes the environment names; 1 where JAX finds them by itself, or nothing does."""
    count = os.environ.get(_NAMES[1], "")
    return int(count) if count.isdecimal() else 1


def forget() -> None:
    """Takes the other processes out of the environment: what this process starts from now on is alone."""
    for name in (*_NAMES, *_COUNTS, _TPU_HOSTS):
        os.environ.pop(name, None)


@contextlib.contextmanager
def preemption() -> Iterator[Callable[[int], int]]:
    """Yields `stops(step)`: the signal that asks the run to end after `step` steps, or 0.

    Of several processes SIGTERM to one is enough: JAX has them agree on a step that none has passed. Every process must
    ask before every step. A lone process heeds Ctrl-C as well, at once when it is pressed again.
    """
    if jax.process_count() > 1:
        yield lambda step: signal.SIGTERM * multihost_utils.reached_preemption_sync_point(step)
        return
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    former = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda step: received[0] if received else 0
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
