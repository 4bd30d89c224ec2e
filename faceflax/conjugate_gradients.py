"""Linear systems solved step by step: a fixed number of steps, inside jit, for many systems at once."""

from collections.abc import Callable

from jax import Array, lax

_TINY = 1e-20  # a system that is solved has nothing to seek


def solve(
    normal: Callable[[Array], Array],
    wanted: Array,
    start: Array,
    dot: Callable[[Array, Array], Array],
    iterations: int,
    preconditioner: Array | float = 1.0,
) -> Array:
    """Improves `start` towards what `normal` maps to `wanted` (Hestenes & Stiefel 1952).

    `normal` is linear, symmetric and positive in the scalar product `dot`, which gives one number for each system, in a
    shape that broadcasts against theirs. `preconditioner` is multiplied, elementwise.
    """

    def improve(state: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        found, residual, direction, size = state
        turned = normal(direction)
        step = size / (dot(direction, turned) + _TINY)
        found, residual = found + step * direction, residual - step * turned
        filtered = preconditioner * residual
        following = dot(residual, filtered)
        return (found, residual, filtered + following / (size + _TINY) * direction, following), None

    residual = wanted - normal(start)
    direction = preconditioner * residual
    state = start, residual, direction, dot(residual, direction)
    state, _ = lax.scan(improve, state, length=iterations)  # exporters know no other loop over what is traced
    return state[0]
