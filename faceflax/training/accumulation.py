"""Gradients of a batch that is too large for the memory: summed over parts of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from faceflax.training.state import Metrics


def accumulate(
    gradients: Callable[[Any], tuple[Any, Metrics]],
    batch: dict[str, jax.Array],
    num_micro: int,
    average: Callable[[Any, Metrics], tuple[Any, Metrics]],
) -> tuple[Any, Metrics]:
    """Mean gradients and summed metrics of `gradients(micro_batch)` over `num_micro` equal parts of the batch.

    Over all shares of it, when `average` (of `Collectives`) makes them those of the whole batch.

    The parts are strided, so that a batch that is sharded over devices stays where it is.
    """
    if num_micro == 1:
        return average(*gradients(batch))
    parts = jax.tree.map(lambda x: x.reshape(-1, num_micro, *x.shape[1:]).swapaxes(0, 1), batch)
    first = jax.tree.map(lambda x: x[0], parts)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(gradients, first))

    def add(total: tuple[Any, Metrics], part: dict[str, jax.Array]) -> tuple[tuple[Any, Metrics], None]:
        return jax.tree.map(jnp.add, total, gradients(part)), None

    # In a loop XLA's CPU convolutions with strides (those of the perceptual networks) are 40 times slower: written out.
    (grads, sums), _ = jax.lax.scan(add, zeros, parts, unroll=jax.default_backend() == "cpu")
    return average(jax.tree.map(lambda g: g / num_micro, grads), sums)
