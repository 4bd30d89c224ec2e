"""How fast training examples are made: python -m experiments.input_speed --config=configs/cnn.py [--config.x=y ...].

Two tables, printed as Markdown. The damage of "blind 2", the one task that face restoration toolkits have a chain for,
in the compiled graph beside the same chain as they write it, with OpenCV and numpy, image by image in `--threads`
threads; the two take turns. And the images a second that are read, cut, mirrored and batched, by `config.data.workers`.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from absl import flags
from ml_collections import config_flags

from experiments import program
from faceflax import config as config_lib

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/, fields as --config.x=y.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Timings of each way; the median is shown.", lower_bound=1)
_BATCHES = flags.DEFINE_integer("batches", 8, "Batches of one timing.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of the chain outside of the graph.", lower_bound=1)
_WORKERS = flags.DEFINE_list("workers", ["0", "1", "2"], "Values of config.data.workers.")
flags.mark_flags_as_required(["config"])

_TASK = "blind 2"


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    from faceflax.evaluation.tables import Table, to_markdown
    from faceflax.training import runtime

    config = _CONFIG.value
    config_lib.validate(config)
    runtime.start()
    size, count = config.data.image_size, config.data.batch_size
    inside, *outside = damage_rates(config)
    rows = [["in the graph", f"{inside:.0f}", "1.00"]]
    kernels = "kernel of 41x41, as published", "kernel that scales with the image, as in the graph"
    for kernel, rate in zip(kernels, outside, strict=True):
        chain = f"OpenCV and numpy, {_THREADS.value} threads, {kernel}"
        rows.append([chain, f"{rate:.0f}", f"{inside / rate:.2f}"])
    title = f"{_TASK} at {size}x{size}, batches of {count}, medians of {_ROUNDS.value}"
    print(to_markdown(Table(title, ["chain", "images/s", "the graph by this one"], rows)))
    rows = [[workers, f"{stream_rate(config, int(workers)):.0f}"] for workers in _WORKERS.value]
    print(to_markdown(Table(f"Batches of {count} at {size}x{size}, read", ["data.workers", "images/s"], rows)))
    return 0


def damage_rates(config: Any) -> list[float]:
    """Returns the images a second damaged in the graph, by `toolkit_chain` as published, and with its kernel scaled."""
    import jax
    import numpy as np

    from faceflax.degradations import degrade, parse
    from faceflax.training import parallel

    size, count = config.data.image_size, config.data.batch_size
    groups, devices = parse([_TASK]), parallel.one_device()
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    batch = devices.shard_batch({"image": images, "index": np.arange(count, dtype=np.int32)})
    key = devices.replicate(jax.random.key(0))
    compiled = devices.compile_batched(lambda key, batch: degrade(key, batch["image"] / 255.0, batch["index"], groups))
    published = toolkit_chain(radius=20)
    scaled = toolkit_chain(radius=math.ceil(20 * size / 512) + 1)
    with ThreadPoolExecutor(_THREADS.value) as pool:
        rngs = [np.random.default_rng(number) for number in range(count)]
        ways = [
            lambda: jax.block_until_ready(compiled(key, batch)),
            lambda: list(pool.map(published, images, rngs)),
            lambda: list(pool.map(scaled, images, rngs)),
        ]
        return [count / seconds for seconds in _alternate(ways)]


def _alternate(ways: list[Callable]) -> list[float]:
    """Median seconds of one call of each, which take turns; the first round is the compiler's."""
    import statistics

    seconds = [[] for _ in ways]
    for _ in range(_ROUNDS.value + 1):
        for way, found in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            for _ in range(_BATCHES.value):
                way()
            found.append((time.perf_counter() - start) / _BATCHES.value)
    return [statistics.median(found[1:]) for found in seconds]


def toolkit_chain(radius: int) -> Callable:
    """Returns `(image uint8 [S, S, 3], rng) -> uint8`, the chain of "blind 2" as GFPGAN's published loader has it.

    The blur's kernel has the sides `2 * radius + 1`. Published loaders (GFPGAN, CodeFormer and theirs after them) give
    it 41 pixels whatever the image's size; at sizes under 512 pixels most of these are zeros, as deviations scale.
    """
    import cv2
    import numpy as np

    cv2.setNumThreads(1)

    def chain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        size, unit = len(image), len(image) / 512
        sigma_x, sigma_y = rng.uniform(0.1, 10, 2) * unit
        if rng.random() < 0.5:
            sigma_y = sigma_x
        kernel = _gaussian(radius, sigma_x, sigma_y, rng.uniform(-np.pi, np.pi))
        image = cv2.filter2D(image.astype(np.float32) / 255, -1, kernel)
        small = max(1, int(size / rng.uniform(0.8, 8)))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_LINEAR)
        image = image + rng.standard_normal(image.shape, np.float32) * (rng.uniform(0, 20) / 255)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(60, 100))]
        _, coded = cv2.imencode(".jpg", np.clip(np.round(image * 255), 0, 255).astype(np.uint8), quality)
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)

    return chain


def _gaussian(radius: int, sigma_x: float, sigma_y: float, angle: float) -> Any:
    import numpy as np

    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return kernel / kernel.sum()


def stream_rate(config: Any, workers: int) -> float:
    """Returns the images a second that the training's input gives with so many worker processes."""
    from faceflax.datasets import stream
    from faceflax.training import examples

    data = config.data.copy_and_resolve_references()
    data.workers = workers
    source = examples.load(data, data.train_split)
    batches = stream.train_stream(source, data, seed=0)
    return _rate(batches, data.batch_size)


def _rate(batches: Iterator, size: int) -> float:
    """Images a second of `batches`, after those that were read ahead."""
    import itertools

    for _ in itertools.islice(batches, 16):
        pass
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < 4:
        next(batches)
        count += size
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    program.run(main)
