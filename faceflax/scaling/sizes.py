"""The trainings behind the scaling laws: networks of several widths and depths, each with every seed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark.plan import Run
from faceflax.scaling import laws
from faceflax.scaling.laws import Point
from faceflax.training import examples, tracking
from faceflax.training.loop import Plan


class Size(NamedTuple):
    """What a network is: its parameters, and its operations for each image of its training."""

    parameters: int
    flops: float


def runs(settings: ConfigDict, folder: Path) -> list[Run]:
    """Returns the trainings: all widths with all depths and seeds."""
    grid = [(width, depth) for width in sorted({*settings.laws.widths}) for depth in sorted({*settings.laws.depths})]
    return [_run(settings, folder, *size, seed) for size in grid for seed in sorted({*settings.laws.seeds})]


def _run(settings: ConfigDict, folder: Path, width: int, depth: int, seed: int) -> Run:
    config = config_lib.from_json(config_lib.to_json(settings.experiment))
    model = config.model
    model.width = width
    model.encoder_blocks = (depth,) * len(model.encoder_blocks)
    model.decoder_blocks = (depth,) * len(model.decoder_blocks)
    model.middle_blocks = 2 * depth
    config.seed = seed
    name = f"width{width}_depth{depth}"
    return Run(name, seed, folder / "trainings" / f"{name}-{seed}", config, after="", upstream={})


def settled_step(settings: ConfigDict) -> int:
    """Returns the first step whose validation is a point: what comes right behind the warm-up tells of the warm-up.

    Raises `UserError` where the trainings could give no law, before hours are spent on them: the faces are not to be
    had, come again more often than `settings.laws.max_epochs`, or too few validations are left.
    """
    experiment, limit = settings.experiment, settings.laws.max_epochs
    count = _count_images(experiment.data)
    plan = Plan.create(experiment, count)
    epochs = 0 if count is None else plan.total * experiment.data.batch_size / count
    if epochs > limit:
        raise UserError(
            f"the laws' trainings would see each of {count} images {epochs:.1f} times, and a repeated image teaches "
            f"less than a new one: train on more images, or for {limit:g}epochs (--config.experiment.train.duration)"
        )
    first = math.ceil(settings.laws.settled * config_lib.num_steps(experiment.optim.warmup, plan.steps_per_epoch))
    count = sum(plan.evaluates(step) for step in range(max(1, first), plan.total + 1))
    if count < laws.MIN_POINTS:
        raise UserError(
            f"of a training's {plan.total} steps only {count} validation(s) come {settings.laws.settled:g} warm-ups "
            f"after its start, and a law needs {laws.MIN_POINTS}: train on more images or for longer, or lower "
            "--config.experiment.optim.warmup or --config.experiment.train.eval_every"
        )
    return first


def _count_images(data: ConfigDict) -> int | None:
    """How many images there are to train on; None where they are made without end."""
    try:
        return examples.count(data)
    except UserError as error:
        raise UserError(f'{error} (the laws train on them; --config.laws.widths="()" leaves the laws out)') from error


def points(trained: Sequence[Run], sizes: Mapping[str, Size], first: int) -> list[Point]:
    """Returns every validation of every training from the step `first` on; `sizes` by the runs' arms."""
    found = []
    for run in trained:
        size, batch = sizes[run.arm], run.config.data.batch_size
        for step, psnr in validations(run.workdir):
            images = step * batch
            if step >= first:
                found.append(Point(run.name, size.parameters, images, images * size.flops, 10 ** (-psnr / 10)))
    return found


def validations(workdir: Path) -> list[tuple[int, float]]:
    """Returns (step, PSNR in dB) of each validation of a training, in order."""
    lines = tracking.read_metrics(workdir, "eval/psnr")
    return [(line["step"], line["eval/psnr"]) for line in lines if line["step"] > 0]
