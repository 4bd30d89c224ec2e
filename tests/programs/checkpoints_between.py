"""Writes a checkpoint from each way of laying out the devices here, or reads those of others and goes on from them.

Arguments: "write" or "read", the folder of them all, and names of `LAYOUTS`: of those to write or to read into. A
reader reads each checkpoint in the folder into each layout, and fails unless the arrays are those that were written, to
the last bit, and lie where the layout wants them. Both leave the state after one step more, the reader from each.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from faceflax.datasets import registry, stream
from faceflax.training import arms, checkpoints, parallel, runtime
from tests import tiny

# Wide enough that fsdp has arrays to split; eps as in test_parity.py.
FIELDS = {"model__width": 32, "tasks": ("noise 50",), "optim__eps": 0.01}
LAYOUTS = {
    "one": ({"data": 1, "fsdp": 1}, "jit"),
    "data": ({"data": 8, "fsdp": 1}, "jit"),
    "fsdp": ({"data": 1, "fsdp": 8}, "jit"),
    "both": ({"data": 2, "fsdp": 4}, "jit"),
    "pmap": ({"data": 8, "fsdp": 1}, "pmap"),
}


def main(action, folder, *names):
    """Writes or reads."""
    runtime.start()
    folder, config = Path(folder), tiny.config(**FIELDS)
    source = registry.load(config.data.dataset, "train")
    for name in names:
        devices = parallel.create(*LAYOUTS[name])
        arm = arms.create(config, lambda step: 1e-3, devices.collectives)
        abstract = devices.abstract_state(arm.init)
        step = devices.compile_step(arm.step, abstract, arm.load_networks())
        batches = stream.train_stream(source, config.data, seed=config.seed)
        first, second = (next(devices.prefetch([next(batches)])) for _ in range(2))
        if action == "write":
            state, _ = step(devices.create_state(arm.init), first)
            _checkpoints(folder / name).save(state, 1, None)
            np.savez(folder / f"{name}-1.npz", **_arrays(devices, state))
            state, _ = step(state, second)
            np.savez(folder / f"{name}-2.npz", **_arrays(devices, state))
        else:
            for written in sorted(path.name for path in folder.iterdir() if path.is_dir()):
                state = _read(folder / written, devices, abstract)
                with np.load(folder / f"{written}-1.npz") as expected:
                    jax.tree.map(np.testing.assert_array_equal, _arrays(devices, state), dict(expected))
                state, _ = step(state, second)
                np.savez(folder / f"{written}-to-{name}.npz", **_arrays(devices, state))


def _read(folder, devices, abstract):
    saved = _checkpoints(folder)
    state = devices.adopt_state(saved.restore(abstract, 1))
    saved.close()
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim), (leaf.sharding, wanted.sharding)
    split = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    assert bool(split) == (devices.mesh.shape["fsdp"] > 1), split
    return state


def _checkpoints(folder):
    return checkpoints.Checkpoints(folder, keep=1, best_metric="psnr")


def _arrays(devices, state):
    whole = devices.gather(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(whole)}


if __name__ == "__main__":
    main(*sys.argv[1:])
