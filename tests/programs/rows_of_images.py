"""Trains on images split by rows over devices, and on one device; prints what differs, and the memory, as JSON.

Arguments: the devices along the axes data and spatial, and fields of the configuration as name=value.
"""

import ast
import json
import re
import sys

import jax
import numpy as np

from faceflax.datasets import registry, stream
from faceflax.training import arms, parallel, runtime
from tests import tiny

STEPS = 3


def train(config, devices):
    """Takes the steps; returns the parameters, whole, and of the program the memory besides arguments and the text."""
    arm = arms.create(config, lambda step: 1e-3, devices.collectives)
    abstract = devices.abstract_state(arm.init)
    step = devices.compile_step(arm.step, abstract, arm.load_networks())
    state = devices.create_state(arm.init)
    source = registry.load(config.data.dataset, "train")
    batches = devices.prefetch(stream.train_stream(source, config.data, seed=config.seed))
    first = next(batches)
    compiled = step.lower(state, first).compile()
    state, sums = step(state, first)
    for _ in range(STEPS - 1):
        state, sums = step(state, next(batches))
    return (
        devices.gather({"params": state.params, "sums": sums}),
        compiled.memory_analysis().temp_size_in_bytes,
        compiled.as_text(),
    )


def whole_features(program, config):
    """The shapes [B, H, W, C] in a program that hold a network's features of whole images, which are square."""
    shapes = {tuple(map(int, dims.split(","))) for dims in re.findall(r"f32\[(\d+,\d+,\d+,\d+)\]", program)}
    least = config.model.width
    return sorted(s for s in shapes if s[0] == config.data.batch_size and s[1] == s[2] > 3 and s[3] >= least)


def main(data, spatial, *assignments):
    """Trains both ways."""
    runtime.start()
    config = tiny.config(**{name: ast.literal_eval(value) for name, value in (a.split("=", 1) for a in assignments)})
    split = parallel.create({"data": int(data), "fsdp": 1, "spatial": int(spatial)})
    (found, on_each, program), (expected, on_one, alone) = (train(config, d) for d in (split, parallel.one_device()))
    excess = jax.tree.map(lambda a, b: float(np.max(np.abs(a - b) / (1 + np.abs(b)))), found, expected)
    whole = {"whole": whole_features(program, config), "whole_on_one": whole_features(alone, config)}
    print(json.dumps({"excess": max(jax.tree.leaves(excess)), "on_each": on_each, "on_one": on_one} | whole))


if __name__ == "__main__":
    main(*sys.argv[1:])
