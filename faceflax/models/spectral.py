"""Spectral normalisation (Miyato et al., ICLR 2018) as a pure function of a tree of parameters.

A kernel [..., I, O] is seen as the matrix that maps a patch of inputs to O outputs. Its largest singular value is
estimated by one step of the power iteration, from a vector that is kept beside the parameters from step to step.
"""

from typing import Any

import jax
import jax.numpy as jnp

Vectors = dict[str, jax.Array]  # by the kernel's path: unit vectors [O]

_EPSILON = 1e-12


def create_vectors(params: Any) -> Vectors:
    """Returns unit vectors [O] to start from, one for each kernel [..., I, O] in `params`."""
    return {path: _unit(jnp.ones(kernel.shape[-1:])) for path, kernel in _kernels(params).items()}


def normalize(params: Any, vectors: Vectors, gain: float = 1.0) -> tuple[Any, Vectors]:
    """Returns `params` with each kernel's largest singular value made `gain`, and the vectors for the next time.

    The vectors are constants to the gradient; the division is not (equation 12 of the paper). Arrays with fewer than
    two dimensions are left as they are.
    """
    normalized, following = {}, {}
    for path, kernel in _kernels(params).items():
        normalized[path], following[path] = _normalize(kernel, vectors[path], gain)
    replace = lambda path, value: normalized.get(_name(path), value)  # noqa: E731
    return jax.tree.map_with_path(replace, params), following


def _normalize(kernel: jax.Array, vector: jax.Array, gain: float) -> tuple[jax.Array, jax.Array]:
    matrix = kernel.reshape(-1, kernel.shape[-1])
    fixed = jax.lax.stop_gradient(matrix)
    left = _unit(fixed @ vector)
    right = _unit(left @ fixed)
    return gain * kernel / (left @ matrix @ right + _EPSILON), right


def _unit(vector: jax.Array) -> jax.Array:
    return vector / (jnp.linalg.norm(vector) + _EPSILON)


def _kernels(params: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params) if len(leaf.shape) > 1}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
