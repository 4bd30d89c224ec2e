"""The faces that a step of a prior's training sees, on whatever devices and processes there are, and those of the next.

Arguments: the file to write (.npz).
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.training import parallel, prior_data, runtime
from faceflax.training.state import Arm, TrainState
from tests import random_networks, tiny


def main(output):
    """Makes two steps' faces and writes them as whole arrays."""
    runtime.start()
    config = tiny.config(data__source="prior", data__image_size=64, data__batch_size=8)
    devices = parallel.create(config.parallel.mesh)
    seen = Arm(None, lambda state, batch, networks: (state, batch), None, lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        random_networks.install(patch)
        arm = prior_data.feed(seen, config, devices.collectives)
        networks = devices.replicate(arm.load_networks())
    batches = prior_data.index_stream(config.data.batch_size, jax.process_index(), jax.process_count())

    def faces(networks, batch, step):
        return arm.step(TrainState(jnp.int32(step), None, None, None), batch, networks)[1]

    for_step = [devices.compile_batched(lambda n, batch, step=step: faces(n, batch, step)) for step in (0, 1)]
    found = [jax.device_get(make(networks, devices.shard_batch(next(batches)))) for make in for_step]
    if jax.process_index() == 0:
        first, second = (batch["image"][np.argsort(batch["index"])] for batch in found)
        np.savez(output, first=first, second=second)


if __name__ == "__main__":
    main(*sys.argv[1:])
