"""Compiled programs: a step with the networks it reads, what XLA counts of one, and those that run elsewhere."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export  # a module that `import jax` leaves out

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

    `flops` are floating-point operations on all devices; of branches the dearest counts, and of loops (a CPU's over the
    images to be damaged, micro-batches) one round. `peak_bytes` are held at once on one device: arguments, results and
    temporaries, less what results share with arguments. `moved_bytes` are what one device's operations read and write,
    each by itself. `program` is one device's program as text.
    """

    flops: float
    peak_bytes: float
    moved_bytes: float = math.nan
    program: str = ""


def count(compiled: Any, num_devices: int) -> Costs:
    """Returns XLA's counts of a program that was compiled for `num_devices` devices."""
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    flops = counted.get("flops", math.nan) * num_devices  # a program is one device's share
    held = math.nan
    if memory is not None:
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        held -= memory.alias_size_in_bytes
    return Costs(flops, held, counted.get("bytes accessed", math.nan), compiled.as_text())


def lower_portably(function: Callable, *shapes: Any) -> jax.export.Exported:
    """Returns the StableHLO of `function` for arguments of `shapes` (symbolic ones too), for any kind of device."""
    return jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Returns what makes XLA's programs for CPUs faster, or None."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x, compiler_options=convolutions.CPU_COMPILER_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib that does not know the option computes the same, more slowly
        return None
    return convolutions.CPU_COMPILER_OPTIONS
