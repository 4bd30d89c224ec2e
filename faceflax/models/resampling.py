"""Images resampled by matrices: exporters know `jax.image.resize` for fixed batches alone."""

import numpy as np


def averages(count: int, size: int) -> np.ndarray:
    """Returns the matrix [count, size] that averages `size` places to `count`, or repeats them where they are fewer."""
    edges = np.linspace(0, size, count + 1)
    places = np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return (np.clip(overlap, 0, None) * count / size).astype(np.float32)


def linear(count: int, size: int) -> np.ndarray:
    """Returns the matrix [count, size] that interpolates between `size` pixels, beyond the outermost of them constant.

    The sums of `jax.image.resize` where it enlarges.
    """
    place = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(size)), 0).astype(np.float32)
