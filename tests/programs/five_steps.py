"""Five training steps of the tiny model on whatever devices and processes there are; the first process saves them.

Arguments: the file to write (.npz), and fields of the configuration as name=value (values in Python's notation).
Of metrics the means are saved.
"""

import ast
import sys

import jax
import numpy as np

from faceflax.datasets import registry, stream
from faceflax.training import arms, parallel, runtime
from tests import tiny


def main(output, *assignments):
    """Runs the steps and writes the parameters as whole arrays."""
    runtime.start()
    fields = {name: ast.literal_eval(value) for name, value in (a.split("=", 1) for a in assignments)}
    config = tiny.config(**fields)
    devices = parallel.create(config.parallel.mesh, config.parallel.strategy)
    arm = arms.create(config, lambda step: 1e-3, devices.collectives)
    abstract = devices.abstract_state(arm.init)
    step = devices.compile_step(arm.step, abstract, arm.load_networks())
    state = devices.create_state(arm.init)
    shares = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    source = registry.load(config.data.dataset, "train")
    batches = devices.prefetch(stream.train_stream(source, config.data, seed=config.seed, **shares))
    for _ in range(5):
        state, sums = step(state, next(batches))
    whole = devices.gather({"params": state.params, "ema": state.ema, "extras": state.extras, "sums": sums})
    whole["means"] = {name: total / count for name, (total, count) in whole.pop("sums").items()}
    if jax.process_index() == 0:
        np.savez(output, **{jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(whole)})


if __name__ == "__main__":
    main(*sys.argv[1:])
