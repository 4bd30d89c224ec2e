"""The strategy jit: the step is compiled over the mesh, and who computes what is left to the compiler."""

import collections
import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from faceflax.errors import UserError
from faceflax.models import convolutions
from faceflax.training import layout
from faceflax.training.parallel import placement, programs
from faceflax.training.parallel.programs import Costs, Step
from faceflax.training.state import Collectives


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
        return NamedSharding(self.mesh, placement.BATCH)

    @property
    def _replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, placement.WHOLE)

    def _state_sharding(self, path: tuple, shape: tuple[int, ...]) -> NamedSharding:
        return NamedSharding(self.mesh, placement.of_state(path, shape, self.mesh.shape))

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
        place = lambda path, s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self._state_sharding(path, s.shape))  # noqa: E731
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
        spec = placement.BATCH
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
            compiler_options=programs.compiler_options(),
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
            compiler_options=programs.compiler_options(),
        )

    def costs(self, program: Any, *arguments: Any) -> Costs:
        """Compiles `program` (of `compile_step` or `compile_batched`) for `arguments` and returns XLA's counts."""
        return programs.count(program, arguments, self.num_devices)

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


def _shardings(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.sharding, tree)
