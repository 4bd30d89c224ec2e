"""Devices: the mesh, where arrays lie on it, and compilation. The only module that knows of meshes and jit.

A pure step is written for the whole batch, as if there were one device. Here it is compiled over a mesh with two axes:
`data` (each device works on its share of the batch) and `fsdp` (as `data`, and parameters and optimiser state are
split as well). Every process runs the same program and brings its own share of each batch.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.export  # a module that `import jax` leaves out
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from faceflax.errors import UserError
from faceflax.models.convolutions import CPU_COMPILER_OPTIONS

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that a portable program runs on
# Smaller arrays stay whole on every device: gathering them costs more than the memory they would save.
_MIN_SPLIT_SIZE = 2**14

CLASSES = "classes"
"""The name of a parameter [K, D] with a row for each of many classes, which is split over all devices."""


def initialize_distributed() -> None:
    """Joins the other processes of a run, when the environment names them; does nothing for a lone process.

    Reads JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID; without them JAX finds the others
    by itself on SLURM, under Open MPI and on TPU pods. Call it before the first use of a device. Raises `UserError`
    when only some of the three are set, or a number is none.
    """
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    values = [os.environ.get(name) for name in names]
    if not any(values):
        if _in_cluster():
            jax.distributed.initialize()
        return
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise UserError(f"a run of several processes needs {' and '.join(missing)} in the environment as well")
    address, count, index = values
    if not (count.isdecimal() and index.isdecimal()):
        raise UserError(f"JAX_NUM_PROCESSES={count} and JAX_PROCESS_ID={index} must be whole numbers")
    jax.distributed.initialize(address, num_processes=int(count), process_id=int(index))


def _in_cluster() -> bool:
    tasks = (os.environ.get(name, "1") for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    tpu_hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return any(count not in ("", "1") for count in tasks) or len(tpu_hosts) > 1


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


def on_one_device(shapes: Any) -> Any:
    """Returns the shapes and dtypes with arrays of them lying whole on this process's first device."""
    device = SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=device), shapes)


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step with the networks that it reads: `(state, batch) -> (state, metrics)`."""

    program: Callable
    networks: Any

    def __call__(self, state: Any, batch: Any) -> Any:
        """Takes one step."""
        return self.program(state, batch, self.networks)

    def lower(self, state: Any, batch: Any) -> Any:
        """Returns the program before compilation, for arguments of these shapes."""
        return self.program.lower(state, batch, self.networks)


class Costs(NamedTuple):
    """What XLA counts of a program; NaN where it does not count.

    `flops` are floating-point operations on all devices; of branches the dearest counts. `peak_bytes` are held at once
    on one device: arguments, results and temporaries, less what results share with arguments.
    """

    flops: float
    peak_bytes: float


@dataclasses.dataclass(frozen=True)
class Parallel:
    """A mesh of devices, and the ways to place arrays on it and to compile functions over it."""

    mesh: Mesh

    @property
    def num_devices(self) -> int:
        """Number of devices the batch is split over."""
        return self.mesh.size

    @property
    def _batch(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))

    @property
    def _replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def _state_sharding(self, path: tuple, shape: jax.ShapeDtypeStruct) -> NamedSharding:
        """Splits class weights by classes; of other large arrays the largest dimension that `fsdp` divides."""
        if any(getattr(key, "key", None) == CLASSES for key in path) and not shape.shape[0] % self.num_devices:
            return self._batch
        size = self.mesh.shape["fsdp"]
        dims = [d for d in range(len(shape.shape)) if shape.shape[d] % size == 0]
        if size == 1 or not dims or math.prod(shape.shape) < _MIN_SPLIT_SIZE:
            return self._replicated
        largest = max(dims, key=lambda d: shape.shape[d])
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * largest, "fsdp"))

    def check_batch_size(self, batch_size: int, num_micro: int) -> None:
        """Raises `UserError` unless every device gets the same number of images in every micro-batch."""
        share = self.num_devices * num_micro
        if batch_size % share:
            raise UserError(
                f"config.data.batch_size {batch_size} does not divide over {self.num_devices} device(s) in "
                f"{num_micro} micro-batch(es); make it a multiple of {share}"
            )

    def abstract_state(self, init: Callable, *arguments: Any) -> Any:
        """Returns the shapes, dtypes and shardings of what `init(*arguments)` makes, without making it."""
        shapes = jax.eval_shape(init, *arguments)
        place = lambda path, s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self._state_sharding(path, s))  # noqa: E731
        return jax.tree.map_with_path(place, shapes)

    def create_state(self, init: Callable, *arguments: Any) -> Any:
        """Runs `init(*arguments)` compiled, each device making its own part."""
        return jax.jit(init, out_shardings=_shardings(self.abstract_state(init, *arguments)))(*arguments)

    def adopt_state(self, state: Any) -> Any:
        """Passes arrays that jit did not make (a restored checkpoint) through it, so that they can be donated."""
        return jax.jit(lambda tree: tree, out_shardings=_shardings(state))(state)

    def map_images(self, function: Callable) -> Callable:
        """Makes a function of whole batches that treats each image alone work on each device's share, by itself.

        Left to the compiler, a loop over images or a Fourier transform would gather the batch on every device.
        """
        if self.num_devices == 1:
            return function
        spec = self._batch.spec
        # The check cannot type a switch inside a mapped loop.
        return jax.shard_map(function, mesh=self.mesh, in_specs=spec, out_specs=spec, check_vma=False)

    def split_classes(self, scores: jax.Array) -> jax.Array:
        """Keeps scores [B, K] of K classes where the class weights `CLASSES` lie, split by classes over all devices.

        Each device then compares the whole batch with its own classes, and neither weights nor scores are gathered.
        """
        if scores.shape[1] % self.num_devices:
            return scores
        columns = NamedSharding(self.mesh, PartitionSpec(None, self.mesh.axis_names))
        return jax.lax.with_sharding_constraint(scores, columns)

    def compile_step(self, step: Callable, abstract_state: Any, networks: Any) -> Step:
        """Compiles `step(state, batch, networks)` into `(state, batch) -> (state, metrics)`.

        The old state's memory is given to the new one. `networks` are whole on every device, and arguments of the
        compiled program: as constants they would be copied into it.
        """
        state = _shardings(abstract_state)
        compiled = jax.jit(
            step,
            in_shardings=(state, self._batch, self._replicated),
            out_shardings=(state, self._replicated),
            donate_argnums=0,
            compiler_options=_compiler_options(),
        )
        return Step(compiled, self.replicate(networks))

    def compile_batched(self, function: Callable) -> Callable:
        """Compiles `function(params, batch) -> outputs`; what it returns is whole on every device."""
        return jax.jit(
            function,
            in_shardings=(None, self._batch),
            out_shardings=self._replicated,
            compiler_options=_compiler_options(),
        )

    def costs(self, program: Any, *arguments: Any) -> Costs:
        """Compiles `program` (of `compile_step` or `compile_batched`) for `arguments` and returns XLA's counts."""
        compiled = program.lower(*arguments).compile()
        counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
        flops = counted.get("flops", math.nan) * self.num_devices  # a program is one device's share
        if memory is None:
            return Costs(flops, math.nan)
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return Costs(flops, held - memory.alias_size_in_bytes)

    def replicate(self, tree: Any) -> Any:
        """Places host arrays, equal in every process, whole on every device."""
        return jax.device_put(tree, self._replicated)

    def gather(self, tree: Any) -> Any:
        """Returns the arrays whole, as numpy arrays, in every process."""
        return jax.device_get(jax.jit(lambda arrays: arrays, out_shardings=self._replicated)(tree))

    def shard_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Places this process's share of a batch, a tree of numpy arrays, on its devices; the shares are one batch."""
        sharding = self._batch
        return jax.tree.map(lambda value: jax.make_array_from_process_local_data(sharding, value), dict(batch))

    def prefetch(self, batches: Iterable[Mapping[str, np.ndarray]], size: int = 2) -> Iterator[dict[str, jax.Array]]:
        """Yields the batches on the devices, `size` of them under way ahead of the one in use."""
        queue = collections.deque()
        batches = iter(batches)
        for batch in itertools.islice(batches, size):
            queue.append(self.shard_batch(batch))
        while queue:
            yield queue.popleft()
            for batch in itertools.islice(batches, 1):
                queue.append(self.shard_batch(batch))


def lower_portably(function: Callable, *shapes: Any) -> jax.export.Exported:
    """Returns the StableHLO of `function` for arguments of `shapes` (symbolic ones too), for any kind of device."""
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


@functools.cache
def _compiler_options() -> dict[str, str] | None:
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x, compiler_options=CPU_COMPILER_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib that does not know the option computes the same, more slowly
        return None
    return CPU_COMPILER_OPTIONS


def _shardings(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def create(mesh: Mapping[str, int]) -> Parallel:
    """Makes the mesh of `config.parallel.mesh` over all devices of all processes.

    Args:
      mesh: devices along the axes `data` and `fsdp`; -1 in one of them takes all that are left.

    Raises:
      UserError: the axes do not multiply to the number of devices.
    """
    sizes = {"data": mesh["data"], "fsdp": mesh["fsdp"]}
    num_devices = jax.device_count()
    free = [axis for axis, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and num_devices % fixed == 0:
        sizes[free[0]] = num_devices // fixed
    if math.prod(sizes.values()) != num_devices or min(sizes.values()) < 1:
        raise UserError(
            f"config.parallel.mesh {dict(mesh)} does not cover the {num_devices} device(s) here; "
            "write sizes that multiply to that number, or -1 in one of them"
        )
    return _over(jax.devices(), sizes)


def one_device() -> Parallel:
    """Makes a mesh of this process's first device, whatever others there are: for costs that are to be compared."""
    return _over(jax.local_devices()[:1], {"data": 1, "fsdp": 1})


def _over(devices: Sequence[jax.Device], sizes: Mapping[str, int]) -> Parallel:
    axis_types = (AxisType.Auto,) * len(sizes)
    return Parallel(jax.make_mesh(tuple(sizes.values()), tuple(sizes), devices=devices, axis_types=axis_types))
