"""Devices: the mesh, where arrays lie on it, and compilation. The only place that knows of meshes, jit and pmap.

A pure step is written for the whole batch, as if there were one device. Here it is compiled over a mesh of three axes:
`data` (each device works on its share of the batch), `fsdp` (as `data`, and parameters and optimiser state are split
as well) and `spatial` (each device works on its rows of the images, where a share's activations are too large for one).
Every process runs the same program and brings its own share of each batch.

Two strategies do that. `jit` leaves to the compiler who computes what, and the result is that of one device. Under
`pmap` each device takes the step on its share alone, with the whole state, and gradients and metrics are averaged.
"""

from faceflax.training.parallel.jit import Parallel
from faceflax.training.parallel.placement import CLASSES, on_one_device
from faceflax.training.parallel.programs import PLATFORMS, Costs, Step, lower_portably
from faceflax.training.parallel.strategies import STRATEGIES, create, one_device

__all__ = [
    "CLASSES",
    "PLATFORMS",
    "STRATEGIES",
    "Costs",
    "Parallel",
    "Step",
    "create",
    "lower_portably",
    "on_one_device",
    "one_device",
]
