"""Two training steps of a tiny face encoder on however many devices there are; saves the whole parameters.

Arguments: the file to write (.npz), and the sizes of the mesh's axes data and fsdp. Fails unless each device holds its
own share of the class weights.
"""

import sys

import jax
import numpy as np

from faceflax.training import arms, parallel, runtime
from tests import tiny

SIZE, BATCH, PEOPLE = 32, 16, 130
FIELDS = {
    "arm": "encoder",
    "tasks": ("noise 15",),
    "data__label": "identity",
    "encoder__size": SIZE,
    "encoder__blocks": 3,
    "encoder__frozen": 1,
    "encoder__start": "",
    "encoder__dimension": 16,
    "encoder__margin": 1.0,
    "encoder__people": PEOPLE,
    "eval__best_metric": "rank1",
}


def batch():
    """A batch of noise: images, people and teacher's vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.random((BATCH, 1024), np.float32)
    return {
        "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8),
        "index": np.arange(BATCH, dtype=np.int32),
        "label": rng.integers(0, PEOPLE, BATCH).astype(np.int32),
        "vector": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    }


def main(output, data, fsdp):
    """Takes the steps and writes the parameters."""
    runtime.start()
    config = tiny.config(**FIELDS, parallel__mesh__data=int(data), parallel__mesh__fsdp=int(fsdp))
    devices = parallel.create(config.parallel.mesh)
    arm = arms.create(config, lambda step: 1e-3, devices.collectives)
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), arm.load_networks())
    state = devices.create_state(arm.init)
    for _ in range(2):
        state, sums = step(state, devices.shard_batch(batch()))
    classes = state.params[parallel.CLASSES]
    shares = {shard.data.shape[0] for shard in classes.addressable_shards}
    assert shares == {classes.shape[0] // devices.num_devices}, shares
    whole = devices.gather({"params": state.params, "sums": sums})
    np.savez(output, **{jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(whole)})


if __name__ == "__main__":
    main(*sys.argv[1:])
