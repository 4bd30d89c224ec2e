"""What a device holds of the state of a training step compiled over eight, whole on each and split; printed as JSON.

Arguments: fields of the configuration as name=value (values in Python's notation).
"""

import ast
import json
import sys

import jax
import numpy as np

from faceflax.training import arms, parallel, runtime
from tests import tiny


def measure(config, mesh):
    """Compiles the step over `mesh`; returns bytes on one device, as XLA counts them."""
    devices = parallel.create(mesh)
    arm = arms.create(config, lambda step: 1e-3, devices.collectives)
    abstract = devices.abstract_state(arm.init)
    size = config.data.image_size
    batch = {
        "image": np.zeros((config.data.batch_size, size, size, 3), np.uint8),
        "index": np.arange(config.data.batch_size, dtype=np.int32),
    }
    compiled = devices.compile_step(arm.step, abstract, arm.load_networks()).lower(abstract, batch).compile()
    memory = compiled.memory_analysis()
    share = sum(array.nbytes for array in batch.values()) // devices.num_devices
    return {
        "whole": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract)),
        "state": memory.argument_size_in_bytes - share,
        "reused": memory.alias_size_in_bytes,
    }


def main(*assignments):
    """Prints what a mesh of data alone and one of fsdp alone need."""
    runtime.start()
    fields = {name: ast.literal_eval(value) for name, value in (a.split("=", 1) for a in assignments)}
    config = tiny.config(**fields)
    meshes = {"data": {"data": 8, "fsdp": 1}, "fsdp": {"data": 1, "fsdp": 8}}
    print(json.dumps({name: measure(config, mesh) for name, mesh in meshes.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
