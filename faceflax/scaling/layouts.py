"""How the devices of a cell are laid out: all along one axis of the mesh, or along two."""

import re

from faceflax.training import layout

NAMES = ("data", "fsdp", "spatial", "pmap")
"""All devices along one axis of the mesh, under jit; or all along `data`, under pmap."""

_TWO_AXES = re.compile(r"(\d+)x(\d+)")  # data x fsdp


def is_known(name: str) -> bool:
    """Whether `name` is one of `NAMES`, or says how many devices lie along `data` and `fsdp`, as "4x2"."""
    return name in NAMES or min(_sizes(name) or (0,)) > 1


def mesh(name: str, count: int) -> dict[str, int] | None:
    """Returns the mesh of `count` devices in the layout `name`; None where that is another number of devices."""
    along = dict.fromkeys(layout.AXES, 1)
    if sizes := _sizes(name):
        data, fsdp = sizes
        return along | {"data": data, "fsdp": fsdp} if data * fsdp == count else None
    return along | {"data" if name == "pmap" else name: count}


def shards(name: str, count: int) -> int:
    """Returns over how many of `count` devices in the layout `name` parameters are split; 1: they are whole."""
    if sizes := _sizes(name):
        return sizes[1]
    return count if name == "fsdp" else 1


def _sizes(name: str) -> tuple[int, int] | None:
    shape = _TWO_AXES.fullmatch(name)
    return shape and (int(shape[1]), int(shape[2]))
