"""Compiled programs: a step with the networks it reads, what XLA counts of one, and those that run elsewhere."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.export  # a module that `import jax` leaves out

from faceflax import by_device
from faceflax.models import convolutions

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that a portable program runs on


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

    All but `peak_bytes` is of the program as accelerators run it, on CPUs too, which compile it for that alone: a CPU
    takes some things in loops, the images to be damaged and faces to be made, and of a loop XLA counts one round.

    Attributes:
      flops: operations on all devices. Of branches the dearest counts, and of micro-batches, on accelerators, one.
      peak_bytes: held at once on one device by the program that runs here: arguments, results and temporaries, less
        what results share with arguments.
      accelerator_bytes: the same of the program as accelerators run it.
      moved_bytes: what one device's operations read and write, each by itself.
      program: one device's program as text.
    """

    flops: float
    peak_bytes: float
    accelerator_bytes: float = math.nan
    moved_bytes: float = math.nan
    program: str = ""


def count(program: Any, arguments: Sequence[Any], num_devices: int) -> Costs:
    """Returns XLA's counts of a jitted `program` for `arguments`, which lie on `num_devices` devices."""
    runs = counted = program.lower(*arguments).compile()
    if jax.default_backend() == "cpu":
        with by_device.as_on_accelerators():
            counted = program.lower(*arguments).compile(compiler_options=_counting_options())
    found = counted.cost_analysis() or {}
    return Costs(
        flops=found.get("flops", math.nan) * num_devices,  # a program is one device's share
        peak_bytes=_held_bytes(runs),
        accelerator_bytes=_held_bytes(counted),
        moved_bytes=found.get("bytes accessed", math.nan),
        program=counted.as_text(),
    )


def _held_bytes(compiled: Any) -> float:
    memory = compiled.memory_analysis()
    if memory is None:
        return math.nan
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return held - memory.alias_size_in_bytes


def lower_portably(function: Callable, *shapes: Any) -> jax.export.Exported:
    """Returns the StableHLO of `function` for arguments of `shapes` (symbolic ones too), for any kind of device."""
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Returns what makes XLA's programs for CPUs faster, or None."""
    return _if_known(convolutions.CPU_COMPILER_OPTIONS) if jax.default_backend() == "cpu" else None


@functools.cache
def _counting_options() -> dict[str, Any] | None:
    """What is only counted need not be fast: with these it compiles in half of the time. The counts are the same."""
    return _if_known({"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True})


def _if_known(options: dict[str, Any]) -> dict[str, Any] | None:
    """Returns `options`, or None for a jaxlib that does not know one: without them it does the same, more slowly."""
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options
