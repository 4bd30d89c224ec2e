"""The mesh: which devices lie along which axis."""

from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh

from faceflax.errors import UserError
from faceflax.training import layout


def create(mesh: Mapping[str, int], strategy: str, num_devices: int) -> Mesh:
    """Makes the mesh of `config.parallel.mesh`; arguments and errors are those of `strategies.create`."""
    devices = jax.devices()[: num_devices or None]
    made = _over(devices, layout.sizes(mesh, strategy, len(devices)))
    bands = made.devices.reshape(-1, made.shape["spatial"])
    if any(device.process_index != group[0].process_index for group in bands for device in group):
        raise UserError(
            f"config.parallel.mesh.spatial {made.shape['spatial']} would split images over several processes; set it "
            f"to a divisor of the {jax.local_device_count()} device(s) of each"
        )
    return made


def of_one_device() -> Mesh:
    """Makes a mesh of this process's first device."""
    return _over(jax.local_devices()[:1], dict.fromkeys(layout.AXES, 1))


def _over(devices: Sequence[jax.Device], sizes: Mapping[str, int]) -> Mesh:
    axis_types = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), devices=devices, axis_types=axis_types)
