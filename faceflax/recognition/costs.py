"""What the vector of a face costs, encoder by encoder: counted by XLA, and timed in turns."""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.evaluation.tables import Table
from faceflax.models import face_encoder
from faceflax.training.parallel import Parallel


class Cost(NamedTuple):
    """Parameters, length of the vectors, and for each face floating-point operations and milliseconds."""

    parameters: int
    size: int
    flops: float
    milliseconds: float


def measure(
    names: Sequence[str], devices: Parallel, *, image_size: int, batch_size: int, rounds: int
) -> dict[str, Cost]:
    """Returns the costs of the encoders `names` on batches of images of `image_size` pixels.

    The encoders take turns, `rounds` times, and the median of each counts: others use the machine as well.
    """
    image = np.random.default_rng(0).random((batch_size, image_size, image_size, 3), np.float32)
    loaded = {name: face_encoder.load(name) for name in names}
    params = {name: devices.replicate(params) for name, (_, params) in loaded.items()}
    programs = {name: devices.compile_batched(encoder.embed) for name, (encoder, _) in loaded.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(params[name], jnp.asarray(image)))
            if turn:  # the first compiles
                seconds[name].append((time.perf_counter() - start) / batch_size)
    return {
        name: Cost(
            sum(leaf.size for leaf in jax.tree.leaves(params[name])),
            encoder.size,
            devices.costs(programs[name], params[name], image).flops / batch_size,
            1e3 * statistics.median(seconds[name]),
        )
        for name, (encoder, _) in loaded.items()
    }


def to_table(costs: dict[str, Cost]) -> Table:
    """Returns the costs as text, each also as a multiple of the first encoder's."""
    first = next(iter(costs.values()))
    rows = [
        [
            *(name, str(cost.size), f"{cost.parameters / 1e6:.2f}"),
            *(f"{cost.flops / 1e9:.3f}", f"{cost.flops / first.flops:.3f}"),
            *(f"{cost.milliseconds:.2f}", f"{cost.milliseconds / first.milliseconds:.3f}"),
        ]
        for name, cost in costs.items()
    ]
    header = [
        "encoder",
        "numbers",
        "million parameters",
        "GFLOP a face",
        "of the first's",
        "ms a face",
        "of the first's",
    ]
    return Table("What a face costs", header, rows)
