"""Where arrays lie on a mesh. For the state that follows from each array's name and shape, and from the axes' sizes."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec, SingleDeviceSharding

from faceflax.training import layout

CLASSES = "classes"
"""The name of a parameter [K, D] with a row for each of many classes, which is split over all devices."""

WHOLE = PartitionSpec()
BATCH = PartitionSpec(layout.SHARES)
"""Of an array whose first dimension is the batch's, or that of many classes."""

# Smaller arrays stay whole on every device: gathering them costs more than the memory they would save.
MIN_SPLIT_SIZE = 2**14


def of_state(path: tuple, shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    """Splits class weights by classes; of other large arrays the largest dimension that `fsdp` divides.

    Args:
      path: the keys that lead to the array, as `jax.tree_util` gives them.
      shape: of the array.
      sizes: devices along each of `layout.AXES`.
    """
    num_shares = math.prod(sizes[axis] for axis in layout.SHARES)
    if any(getattr(key, "key", None) == CLASSES for key in path) and shape[0] % num_shares == 0:
        return BATCH
    dims = [d for d, length in enumerate(shape) if length % sizes["fsdp"] == 0]
    if sizes["fsdp"] == 1 or not dims or math.prod(shape) < MIN_SPLIT_SIZE:
        return WHOLE
    largest = max(dims, key=lambda d: shape[d])
    return PartitionSpec(*(None,) * largest, "fsdp")


def on_one_device(shapes: Any) -> Any:
    """Returns the shapes and dtypes with arrays of them lying whole on this process's first device."""
    device = SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=device), shapes)
