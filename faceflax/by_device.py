"""What CPUs compute in one way and accelerators in another, and a switch that takes the choice from the device."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax import lax

# Part of the key under which JAX keeps what it has traced: within, a compiled function is traced anew.
_is_as_on_accelerators = jax.make_user_context(False)


def as_on_accelerators() -> AbstractContextManager:
    """What is traced within is written as accelerators run it, for whatever device it is compiled.

    For exporters, which cannot choose by device, and to count what accelerators do where there are none.
    """
    return _is_as_on_accelerators(True)


def choose(*operands: Any, cpu: Callable, default: Callable) -> Any:
    """Returns `cpu(*operands)` on CPUs, `default(*operands)` elsewhere and within `as_on_accelerators`.

    The results have the same shapes and dtypes.
    """
    if _is_as_on_accelerators.value:
        return default(*operands)
    return lax.platform_dependent(*operands, cpu=cpu, default=default)


def map_each(one: Callable, *operands: Any) -> Any:
    """Returns `one` of each element of `operands`, stacked: trees of arrays with a leading axis, as `jax.vmap` takes.

    A loop on CPUs. Under `vmap` a choice (of a task, of what a task needs to compute) becomes all that there is to
    choose from, for every element: a loop runs what was chosen, which wins where nothing runs in parallel.
    """

    def loop(*operands: Any) -> Any:
        return lax.map(lambda element: one(*element), operands)

    return choose(*operands, cpu=loop, default=jax.vmap(one))
