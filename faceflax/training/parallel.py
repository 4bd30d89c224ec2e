"""Devices: the mesh, where arrays lie on it, and compilation. The only module that knows of meshes, jit and pmap.

A pure step is written for the whole batch, as if there were one device. Here it is compiled over a mesh of three axes:
`data` (each device works on its share of the batch), `fsdp` (as `data`, and parameters and optimiser state are split
as well) and `spatial` (each device works on its rows of the images, where a share's activations are too large for one).
Every process runs the same program and brings its own share of each batch.

Two strategies do that. `jit` leaves to the compiler who computes what, and the result is that of one device. Under
`pmap` each device takes the step on its share alone, with the whole state, and gradients and metrics are averaged.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.export  # a module that `import jax` leaves out
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from faceflax.errors import UserError
from faceflax.models import convolutions
from faceflax.training import layout
from faceflax.training.state import Collectives

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that a portable program runs on
# Smaller arrays stay whole on every device: gathering them costs more than the memory they would save.
_MIN_SPLIT_SIZE = 2**14

_AXIS = "devices"  # of a pmapped step

STRATEGIES = ("jit", "pmap")

CLASSES = "classes"
"""The name of a parameter [K, D] with a row for each of many classes, which is split over all devices."""


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
    on one device: arguments, results and temporaries, less what results share with arguments. `moved_bytes` are what
    one device's operations read and write, each by itself. `program` is one device's program as text.
    """

    flops: float
    peak_bytes: float
    moved_bytes: float = math.nan
    program: str = ""


@dataclasses.dataclass(frozen=True)
class Parallel:
    """A mesh of devices, and the ways to place arrays on it and to compile functions over it."""

    mesh: Mesh

    @property
    def num_devices(self) -> int:
        """Number of devices, of all processes."""
        return self.mesh.size

    @property
    def num_shares(self) -> int:
        """Number of equal shares that the images of a batch are split into."""
        return math.prod(self.mesh.shape[axis] for axis in layout.SHARES)

    @property
    def collectives(self) -> Collectives:
        """What a step calls that is to be compiled here; see `arms.create`."""
        return Collectives(self._map_images, self._split_classes)

    @property
    def _batch(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(layout.SHARES))

    @property
    def _replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def _state_sharding(self, path: tuple, shape: jax.ShapeDtypeStruct) -> NamedSharding:
        """Splits class weights by classes; of other large arrays the largest dimension that `fsdp` divides."""
        if any(getattr(key, "key", None) == CLASSES for key in path) and not shape.shape[0] % self.num_shares:
            return self._batch
        size = self.mesh.shape["fsdp"]
        dims = [d for d in range(len(shape.shape)) if shape.shape[d] % size == 0]
        if size == 1 or not dims or math.prod(shape.shape) < _MIN_SPLIT_SIZE:
            return self._replicated
        largest = max(dims, key=lambda d: shape.shape[d])
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * largest, "fsdp"))

    def check_batch(self, batch_size: int, num_micro: int, image_size: int) -> None:
        """Raises `UserError` unless every device gets as many images, and rows of them, in every micro-batch."""
        share, bands = self.num_shares * num_micro, self.mesh.shape["spatial"]
        if batch_size % share:
            raise UserError(
                f"config.data.batch_size {batch_size} does not divide over {self.num_shares} device(s) in "
                f"{num_micro} micro-batch(es); make it a multiple of {share}"
            )
        if image_size % bands:
            raise UserError(
                f"config.data.image_size {image_size} does not divide over {bands} devices; "
                "set config.parallel.mesh.spatial to a divisor of it"
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

    def _map_images(self, function: Callable) -> Callable:
        """Makes a function of whole batches that treats each image alone work on each device's share, by itself.

        Left to the compiler, a loop over images or a Fourier transform would gather the batch on every device. Devices
        along `spatial` each do it for whole images.
        """
        if self.num_devices == 1:
            return function
        spec = self._batch.spec
        # The check cannot type a switch inside a mapped loop.
        mapped = jax.shard_map(function, mesh=self.mesh, in_specs=spec, out_specs=spec, check_vma=False)
        return lambda *arguments: self._split_rows(mapped(*arguments))

    def _split_rows(self, tree: Any) -> Any:
        """Leaves of the images [B, H, W, C] in `tree` to each device along `spatial` its own band of rows.

        The compiler does the same with all that is computed of them, and sends the rows at the seams to and fro.
        """
        bands = self.mesh.shape["spatial"]
        if bands == 1:
            return tree
        rows = NamedSharding(self.mesh, PartitionSpec(layout.SHARES, "spatial"))

        def split(array: jax.Array) -> jax.Array:
            fits = array.ndim == 4 and not array.shape[1] % bands
            return jax.lax.with_sharding_constraint(array, rows) if fits else array

        return jax.tree.map(split, tree)

    def _writing(self) -> contextlib.AbstractContextManager:
        return convolutions.in_rows() if self.mesh.shape["spatial"] > 1 else contextlib.nullcontext()

    def _split_classes(self, scores: jax.Array) -> jax.Array:
        """Keeps scores [B, K] of K classes where the class weights `CLASSES` lie, split by classes over the devices.

        Each device then compares the whole batch with its own classes, and neither weights nor scores are gathered.
        """
        if scores.shape[1] % self.num_shares:
            return scores
        columns = NamedSharding(self.mesh, PartitionSpec(None, layout.SHARES))
        return jax.lax.with_sharding_constraint(scores, columns)

    def compile_step(self, step: Callable, abstract_state: Any, networks: Any) -> Step:
        """Compiles `step(state, batch, networks)` into `(state, batch) -> (state, metrics)`.

        The old state's memory is given to the new one. `networks` are whole on every device, and arguments of the
        compiled program: as constants they would be copied into it.
        """
        placed = _shardings(abstract_state)

        def training_step(state: Any, batch: Any, networks: Any) -> Any:
            with self._writing():
                return step(state, self._split_rows(batch), networks)

        compiled = jax.jit(
            training_step,
            in_shardings=(placed, self._batch, self._replicated),
            out_shardings=(placed, self._replicated),
            donate_argnums=0,
            compiler_options=_compiler_options(),
        )
        return Step(compiled, self.replicate(networks))

    def compile_batched(self, function: Callable) -> Callable:
        """Compiles `function(params, batch) -> outputs`; what it returns is whole on every device."""

        def batched(params: Any, batch: Any) -> Any:
            with self._writing():
                return function(params, self._split_rows(batch))

        return jax.jit(
            batched,
            in_shardings=(None, self._batch),
            out_shardings=self._replicated,
            compiler_options=_compiler_options(),
        )

    def costs(self, program: Any, *arguments: Any) -> Costs:
        """Compiles `program` (of `compile_step` or `compile_batched`) for `arguments` and returns XLA's counts."""
        compiled = program.lower(*arguments).compile()
        counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
        flops = counted.get("flops", math.nan) * self.num_devices  # a program is one device's share
        held = math.nan
        if memory is not None:
            held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
            held -= memory.alias_size_in_bytes
        return Costs(flops, held, counted.get("bytes accessed", math.nan), compiled.as_text())

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


class Pmapped(Parallel):
    """The same with steps under `jax.pmap`: a batch has a leading axis of devices, the state is whole on each."""

    @property
    def _replicated(self) -> NamedSharding:
        """On the mesh that pmap makes of the devices: a state on another would have the second step compiled anew."""
        return NamedSharding(Mesh(self.mesh.devices.ravel(), (_AXIS,)), PartitionSpec())

    @property
    def collectives(self) -> Collectives:
        """Treats each device's share as if it were a batch, and averages what comes of it."""

        def average(grads: Any, sums: Any) -> tuple[Any, Any]:
            return jax.lax.pmean(grads, _AXIS), jax.lax.psum(sums, _AXIS)

        return Collectives(average=average)

    def shard_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Places this process's share as [devices, B / devices, ...]; otherwise as `Parallel.shard_batch`."""
        num_local = self.num_devices // jax.process_count()
        return super().shard_batch({name: _fold(value, num_local) for name, value in batch.items()})

    def compile_step(self, step: Callable, abstract_state: Any, networks: Any) -> Step:
        """As `Parallel.compile_step`; the compiler's options for CPUs are not to be had here."""
        # pmap has an order of the devices of its own, unless it is told.
        program = jax.pmap(
            step,
            axis_name=_AXIS,
            in_axes=(None, 0, None),
            out_axes=None,
            devices=list(self.mesh.devices.flat),
            donate_argnums=0,
        )
        if jax.process_count() == 1:
            return Step(program, self.replicate(networks))
        return Step(_Global(program, self._replicated), self.replicate(networks))


@dataclasses.dataclass(frozen=True)
class _Global:
    """A pmapped program of several processes; pmap gives its results as if they lay on this process's devices alone."""

    program: Callable
    replicated: NamedSharding

    def __call__(self, *arguments: Any) -> Any:
        return jax.tree.map(self._widen, self.program(*arguments))

    def lower(self, *arguments: Any) -> Any:
        return self.program.lower(*arguments)

    def _widen(self, array: jax.Array) -> jax.Array:
        parts = [shard.data for shard in array.addressable_shards]
        return jax.make_array_from_single_device_arrays(array.shape, self.replicated, parts)


def _fold(value: np.ndarray, parts: int) -> np.ndarray:
    return np.reshape(value, (parts, -1, *np.shape(value)[1:]))


def lower_portably(function: Callable, *shapes: Any) -> jax.export.Exported:
    """Returns the StableHLO of `function` for arguments of `shapes` (symbolic ones too), for any kind of device."""
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


@functools.cache
def _compiler_options() -> dict[str, str] | None:
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x, compiler_options=convolutions.CPU_COMPILER_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib that does not know the option computes the same, more slowly
        return None
    return convolutions.CPU_COMPILER_OPTIONS


def _shardings(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def create(mesh: Mapping[str, int], strategy: str = "jit", num_devices: int = 0) -> Parallel:
    """Makes the mesh of `config.parallel.mesh` over all devices of all processes.

    Args:
      mesh: devices along the axes `data`, `fsdp` and `spatial`; -1 in one of them takes all that are left.
      strategy: one of `STRATEGIES`.
      num_devices: how many of the devices, the first ones; 0: all.

    Raises:
      UserError: the axes do not multiply to the number of devices, rows of an image would lie in several processes, or
        `pmap` is to split parameters or images.
    """
    devices = jax.devices()[: num_devices or None]
    made = _mesh_over(devices, layout.sizes(mesh, strategy, len(devices)))
    bands = made.devices.reshape(-1, made.shape["spatial"])
    if any(device.process_index != group[0].process_index for group in bands for device in group):
        raise UserError(
            f"config.parallel.mesh.spatial {made.shape['spatial']} would split images over several processes; set it "
            f"to a divisor of the {jax.local_device_count()} device(s) of each"
        )
    return (Pmapped if strategy == "pmap" else Parallel)(made)


def one_device() -> Parallel:
    """Makes a mesh of this process's first device, whatever others there are: for costs that are to be compared."""
    return Parallel(_mesh_over(jax.local_devices()[:1], dict.fromkeys(layout.AXES, 1)))


def _mesh_over(devices: Sequence[jax.Device], sizes: Mapping[str, int]) -> Mesh:
    axis_types = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), devices=devices, axis_types=axis_types)
