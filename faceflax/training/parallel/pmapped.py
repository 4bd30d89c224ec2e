"""The strategy pmap: each device takes the step on its share alone, with the whole state; the results are averaged."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from faceflax.training.parallel import placement
from faceflax.training.parallel.jit import Parallel
from faceflax.training.parallel.programs import Step
from faceflax.training.state import Collectives

_AXIS = "devices"  # of a pmapped step


class Pmapped(Parallel):
    """The same with steps under `jax.pmap`: a batch has a leading axis of devices, the state is whole on each."""

    @property
    def _replicated(self) -> NamedSharding:
        """On the mesh that pmap makes of the devices: a state on another would have the second step compiled anew."""
        return NamedSharding(Mesh(self.mesh.devices.ravel(), (_AXIS,)), placement.WHOLE)

    def _state_sharding(self, path: tuple, shape: tuple[int, ...]) -> NamedSharding:
        return self._replicated

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
