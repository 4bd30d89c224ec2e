"""A whole split through every task: each image once, the same images at every severity, every failure counted."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from faceflax.degradations import Task, flatten
from faceflax.evaluation import batches
from faceflax.evaluation.baselines import BASELINES
from faceflax.evaluation.measure import Restore, create_step, score_candidate
from faceflax.evaluation.results import METHODS, Example, TaskResult
from faceflax.training.parallel import Parallel

NUM_EXAMPLES = 3  # images of each task that are kept for pictures: the first ones


class Evaluator:
    """Measures a network on the images of a source; compiled at the first call, for all that follow."""

    def __init__(self, restore: Restore, source: Sequence, config: ConfigDict, devices: Parallel, *, baselines: bool):
        """Prepares the evaluation of `restore` (see `measure.create_step`) on `source` by `config.eval`.

        With `baselines` the classical methods are measured as well, in threads of the host. Raises `UserError` for a
        task that does not exist.
        """
        self.tasks = flatten(config.eval.tasks)
        self._source, self._config, self._devices = source, config, devices
        self._step = devices.compile_batched(create_step(restore, self.tasks))
        self._score = devices.compile_batched(score_candidate)
        self._baselines = baselines

    def __call__(self, params: Any, advance: Callable[[int], None] = lambda count: None) -> list[TaskResult]:
        """Returns the results of every task, in order; every process gets them whole.

        `params` lie where `devices` puts them. `advance` is called with how many images of a task were just measured.
        Without baselines the results know "input" and "model" alone.
        """
        collected = [_Collector(task) for task in self.tasks]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for batch in batches.of_split(self._source, self._config, self._devices):
                on_devices = self._devices.shard_batch(batch)
                for number, collector in enumerate(collected):
                    seen = self._step((params, np.int32(number)), on_devices)
                    self._collect(collector, seen, on_devices, pool)
                    advance(int(batch["weight"].sum()))
        return [collector.finish() for collector in collected]

    def _collect(
        self, collector: "_Collector", seen: dict[str, Any], on_devices: Any, pool: ThreadPoolExecutor
    ) -> None:
        numbers, pictures = jax.device_get(seen["numbers"]), {}
        if self._baselines or (numbers["index"] < NUM_EXAMPLES).any():
            pictures = jax.device_get(seen["pictures"])
        if self._baselines:
            pictures["baseline"] = _classical(pool, collector.task, numbers["weight"], pictures)
            on_device = self._devices.replicate((pictures["baseline"], pictures["mask"]))
            numbers["scores"]["baseline"] = jax.device_get(self._score(on_device, on_devices))
        collector.add(numbers, pictures)


def _classical(pool: ThreadPoolExecutor, task: Task, weight: np.ndarray, pictures: dict[str, np.ndarray]) -> np.ndarray:
    """The classical method's results for a batch, uint8 [B, H, W, 3]; padding is left as it is."""

    def one(weight: float, degraded: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return BASELINES[task.name].restore(degraded, mask[..., 0], task.severity) if weight else degraded

    return np.stack(list(pool.map(one, weight, pictures["input"], pictures["mask"])))


class _Collector:
    """Gathers what was measured of one task, batch by batch."""

    def __init__(self, task: Task):
        self.task = task
        self._index: list[int] = []
        self._scores: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._failures = 0
        self._examples: list[Example] = []

    def add(self, numbers: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        """Takes one batch, in which images of weight 0 are padding; pictures may be missing where none is wanted."""
        real = numbers["weight"] > 0
        self._index += numbers["index"][real].tolist()
        self._failures += int(numbers["failed"][real].sum())
        for method, scores in numbers["scores"].items():
            for metric, values in scores.items():
                self._scores[method, metric] += values[real].tolist()
        for place in np.flatnonzero(real & (numbers["index"] < NUM_EXAMPLES)):
            self._examples.append(_example(numbers, pictures, place))

    def finish(self) -> TaskResult:
        order = np.argsort(self._index)
        scores: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for (method, metric), values in self._scores.items():
            scores[method][metric] = np.array(values, np.float64)[order]
        return TaskResult(
            task=self.task,
            baseline=BASELINES[self.task.name].name,
            index=np.array(self._index)[order],
            scores=dict(scores),
            failures=self._failures,
            examples=sorted(self._examples, key=lambda example: example.index),
        )


def _example(numbers: dict[str, Any], pictures: dict[str, np.ndarray], place: int) -> Example:
    """One image's pictures, copied: a view would keep its whole batch in memory."""
    return Example(
        index=int(numbers["index"][place]),
        clean=pictures["clean"][place].copy(),
        pictures={method: pictures[method][place].copy() for method in METHODS if method in pictures},
        psnr={method: float(scores["psnr"][place]) for method, scores in numbers["scores"].items()},
    )
