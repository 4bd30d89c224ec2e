"""The strategies by name, and the devices that a configuration asks for."""

from collections.abc import Mapping

from faceflax.training.parallel import mesh as meshes
from faceflax.training.parallel.jit import Parallel
from faceflax.training.parallel.pmapped import Pmapped

_BY_NAME = {"jit": Parallel, "pmap": Pmapped}
STRATEGIES = tuple(_BY_NAME)


def create(mesh: Mapping[str, int], strategy: str = "jit", num_devices: int = 0) -> Parallel:
    """Makes the mesh of `config.parallel.mesh` over all devices of all processes.

    Args:
      mesh: devices along the axes `data`, `fsdp` and `spatial`; -1 in one of them takes all that are left.
      strategy: one of `STRATEGIES`.
      num_devices: how many of the devices, the first ones; 0: all.

    Raises:
      UserError: the axes do not multiply to the number of devices, rows of an image would lie in several processes, or
        `pmap` is to split parameters or images.
    """
    return _BY_NAME[strategy](meshes.create(mesh, strategy, num_devices))


def one_device() -> Parallel:
    """Makes a mesh of this process's first device, whatever others there are: for costs that are to be compared."""
    return Parallel(meshes.of_one_device())
