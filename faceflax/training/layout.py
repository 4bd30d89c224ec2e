"""How many devices lie along each axis of the mesh, from what a configuration asks for."""

import math
from collections.abc import Mapping

from faceflax.errors import UserError

AXES = ("data", "fsdp", "spatial")
SHARES = ("data", "fsdp")
"""The axes over which the images of a batch are split; along `spatial` each image is, by rows."""


def sizes(mesh: Mapping[str, int], strategy: str, num_devices: int) -> dict[str, int]:
    """Returns the devices along each of `AXES`; see `parallel.create`, which raises what this does."""
    found = {axis: mesh.get(axis, 1) for axis in AXES}  # trainings of earlier versions know no `spatial`
    free = [axis for axis, size in found.items() if size == -1]
    fixed = math.prod(size for size in found.values() if size != -1)
    if len(free) == 1 and fixed > 0 and num_devices % fixed == 0:
        found[free[0]] = num_devices // fixed
    if math.prod(found.values()) != num_devices or min(found.values()) < 1:
        raise UserError(
            f"config.parallel.mesh {dict(mesh)} does not cover the {num_devices} device(s) here; "
            "write sizes that multiply to that number, or -1 in one of them"
        )
    if strategy == "pmap" and found["fsdp"] * found["spatial"] > 1:
        raise UserError(
            'config.parallel.strategy "pmap" keeps all parameters and whole images on each device: set '
            'config.parallel.mesh.fsdp and spatial to 1, or the strategy to "jit"'
        )
    return found
