"""What each arm costs: parameters, operations, memory, and seconds of a training step and of restoring."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax import models
from faceflax.evaluation import measure
from faceflax.evaluation.benchmark.tables import to_csv
from faceflax.evaluation.tables import Table, fixed
from faceflax.models import experts
from faceflax.training import arms, parallel, tracking
from faceflax.training.checkpoints import Trained
from faceflax.training.parallel import Costs, Parallel


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """The costs of an arm on one device. Everything but the parameters and the bytes is by image.

    Attributes:
      parameters: of the network that restores.
      published: those of them that others trained, and the arm's training leaves as they are.
      train_flops, restore_flops: of a training step (the mean, where steps differ) and of restoring, see `Costs`.
      train_bytes, restore_bytes: held at once for a whole batch, in the dearest step.
      train_seconds, restore_seconds: one timing a round; the rounds of all arms took turns.
      trained_seconds: the whole training's, on its own devices, without validation and checkpoints; NaN where no
        metrics were kept.
    """

    parameters: int
    published: int
    train_flops: float
    restore_flops: float
    train_bytes: float
    restore_bytes: float
    train_seconds: tuple[float, ...]
    restore_seconds: tuple[float, ...]
    trained_seconds: float


class Program:
    """Something to time: run it, wait for it, by image."""

    def __init__(self, run: Callable[[], Any], images: int):
        self._run, self._images = run, images

    def seconds(self, repeats: int) -> float:
        """Returns the mean seconds by image of `repeats` runs."""
        start = time.perf_counter()
        for _ in range(repeats):
            out = self._run()
        jax.block_until_ready(out)
        return (time.perf_counter() - start) / (repeats * self._images)


def measure_all(
    settings: ConfigDict, trained: Mapping[str, Trained], trained_seconds: Mapping[str, float]
) -> dict[str, Efficiency]:
    """Times the arms `trained` (name -> a run of it) by `settings.efficiency`, taking turns round by round.

    One device does all of it, so that arms compare whatever number of devices they were trained on. How long their
    trainings took, `trained_seconds`, is passed on.

    Raises `UserError` when a pretrained network of an arm's loss cannot be fetched.
    """
    programs, counted, devices = {}, {}, parallel.one_device()
    for name, each in trained.items():
        programs[name], counted[name] = _prepare(each, settings.eval.batch_size, devices)
    repeats = {}
    for name, each in trained.items():
        cycle = _cycle(each.config)
        repeats[name, "train"] = -(-settings.efficiency.steps // cycle) * cycle
        repeats[name, "restore"] = settings.efficiency.batches
    seconds = {timed: [] for timed in repeats}
    for number in range(settings.efficiency.rounds + 1):
        for (name, what), found in seconds.items():
            found.append(programs[name][what].seconds(repeats[name, what] if number else 1))
    return {
        name: Efficiency(
            **counted[name],
            train_seconds=tuple(seconds[name, "train"][1:]),  # the first was the compiler's
            restore_seconds=tuple(seconds[name, "restore"][1:]),
            trained_seconds=trained_seconds[name],
        )
        for name in trained
    }


def training_program(config: ConfigDict, devices: Parallel) -> tuple[Program, Costs]:
    """Returns the training step of an experiment's `config` from its first state on, to be timed, and its costs.

    Raises `UserError` when a pretrained network of its loss cannot be fetched.
    """
    arm = arms.create(config, lambda step: config.optim.lr, devices.collectives)
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), arm.load_networks())
    count, size = config.data.batch_size, config.data.image_size
    share = count // jax.process_count()  # each process brings its own
    batch = {"image": _images(share, size), "index": np.arange(share, dtype=np.int32)}
    batch |= {name: np.zeros((share, *shape), np.float32) for name, shape in arm.feature_shapes.items()}
    batch, state = devices.shard_batch(batch), [devices.create_state(arm.init)]

    def train() -> Any:
        state[0], sums = step(state[0], batch)
        return sums

    return Program(train, count), devices.costs(step, state[0], batch)


def _restoring_program(trained: Trained, count: int, devices: Parallel) -> tuple[Program, Costs]:
    """Restoring to be timed, and its costs."""
    size = trained.config.data.image_size
    restore = devices.compile_batched(measure.create_restore(models.create(trained.config.model).apply))
    damaged = {"degraded": _images(count, size), "mask": np.zeros((count, size, size, 1), np.uint8)}
    damaged, params = devices.shard_batch(damaged), devices.replicate(trained.params)
    return Program(lambda: restore(params, damaged), count), devices.costs(restore, params, damaged)


def _images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def _prepare(trained: Trained, batch_size: int, devices: Parallel) -> tuple[dict[str, Program], dict[str, float]]:
    train, train_costs = training_program(_as_trained(trained.config), devices)
    restore, restore_costs = _restoring_program(trained, batch_size, devices)
    counted_images = 1 if trained.config.model.experts else batch_size  # of a loop over images XLA counts one round
    frozen = [trained.params[name] for name in models.create(trained.config.model).frozen]
    counted = {
        "parameters": _size(trained.params),
        "published": _size(frozen),
        "train_flops": mean_flops(trained.config, train_costs, devices) / trained.config.data.batch_size,
        "restore_flops": restore_costs.flops / counted_images,
        "train_bytes": train_costs.peak_bytes,
        "restore_bytes": restore_costs.peak_bytes,
    }
    return {"train": train, "restore": restore}, counted


def _as_trained(config: ConfigDict) -> ConfigDict:
    """The configuration of the training: a GAN that ships with experts was trained without."""
    return config if config.arm == "experts" else experts.plain(config)


def _size(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _cycle(config: ConfigDict) -> int:
    """After how many steps of training the same work comes round: lazy penalties are computed once in so many."""
    has_penalties = config.arm == "gan" and (config.gan.r1 or config.gan.r2)
    return config.gan.penalty_every if has_penalties else 1


def mean_flops(config: ConfigDict, dearest: Costs, devices: Parallel) -> float:
    """Returns the mean operations of a step of training; `dearest` are those of a step with lazy penalties."""
    cycle = _cycle(config)
    if cycle == 1:
        return dearest.flops
    without = config_lib.from_json(config_lib.to_json(config))
    without.gan.r1 = without.gan.r2 = 0.0
    _, others = training_program(without, devices)
    return (1 - 1 / cycle) * others.flops + dearest.flops / cycle


def training_seconds(workdir: Path) -> float:
    """Returns how long the workdir's steps took, as its `metrics.jsonl` last says; NaN where it does not."""
    told = tracking.read_metrics(workdir, "train/kept_seconds")
    return told[-1]["train/kept_seconds"] if told else math.nan


def to_table(found: Mapping[str, Efficiency]) -> Table:
    """Returns the costs as a table; times are medians over the rounds."""
    header = [
        "arm",
        "parameters, M",
        "of these published, M",
        "GFLOPs training",
        "GFLOPs restoring",
        "MiB training",
        "MiB restoring",
    ]
    header += ["images/s training", "images/s restoring", "training took, s"]
    rows = [
        [
            name,
            *(fixed(count / 1e6, 2) for count in (each.parameters, each.published)),
            *(fixed(value / 1e9, 2) for value in (each.train_flops, each.restore_flops)),
            *(fixed(value / 2**20, 0) for value in (each.train_bytes, each.restore_bytes)),
            *(fixed(1 / np.median(seconds), 1) for seconds in (each.train_seconds, each.restore_seconds)),
            fixed(each.trained_seconds, 0),
        ]
        for name, each in found.items()
    ]
    title = "Efficiency on one device: mean operations by image, memory of a batch, medians of the times"
    return Table(title, header, rows)


def costs_csv(found: Mapping[str, Efficiency]) -> str:
    """Returns one row an arm; times are medians over the rounds, and differ from run to run."""
    rows = []
    for name, each in found.items():
        row = {"arm": name} | dataclasses.asdict(each)
        row |= {key: np.median(value) for key, value in row.items() if isinstance(value, tuple)}
        rows.append({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return to_csv(rows)


def to_json(found: Mapping[str, Efficiency]) -> dict[str, Any]:
    """Returns the costs as JSON knows them."""
    return {name: dataclasses.asdict(each) for name, each in found.items()}


def from_json(fields: Mapping[str, Any]) -> dict[str, Efficiency]:
    """Returns what `to_json` was given."""
    return {
        name: Efficiency(**{key: tuple(value) if isinstance(value, list) else value for key, value in each.items()})
        for name, each in fields.items()
    }
