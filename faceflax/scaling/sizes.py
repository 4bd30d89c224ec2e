"""The trainings behind the scaling laws: networks of several widths and depths, and shares of the data."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.evaluation.benchmark import efficiency
from faceflax.evaluation.benchmark.plan import Run
from faceflax.scaling import measuring
from faceflax.scaling.laws import Point
from faceflax.training import parallel, tracking


def runs(settings: ConfigDict, folder: Path) -> list[Run]:
    """Returns the trainings, with every seed: all widths with all depths, then the largest network on less data."""
    laws = settings.laws
    grid = [(width, depth, 100) for width in sorted(laws.widths) for depth in sorted(laws.depths)]
    if grid:
        grid += [(*grid[-1][:2], share) for share in sorted(laws.shares)]
    return [_run(settings, folder, *size, seed) for size in grid for seed in laws.seeds]


def _run(settings: ConfigDict, folder: Path, width: int, depth: int, share: int, seed: int) -> Run:
    config = config_lib.from_json(config_lib.to_json(settings.experiment))
    model = config.model
    model.width = width
    model.encoder_blocks = (depth,) * len(model.encoder_blocks)
    model.decoder_blocks = (depth,) * len(model.decoder_blocks)
    model.middle_blocks = 2 * depth
    config.seed = seed
    name = f"width{width}_depth{depth}"
    if share < 100:
        config.data.train_split = f"{config.data.train_split}[:{share}%]"
        name += f"_data{share}"
    return Run(name, seed, folder / "trainings" / f"{name}-{seed}", config, after="", upstream={})


def points(settings: ConfigDict, trained: Sequence[Run]) -> list[Point]:
    """Returns every validation of every training."""
    whole = settings.experiment.data.train_split
    devices = parallel.one_device()
    counted = {}
    found = []
    for run in trained:
        if run.arm not in counted:
            counted[run.arm] = _costs(run.config, devices)
        parameters, flops = counted[run.arm]
        batch = run.config.data.batch_size
        for step, psnr in validations(run.workdir):
            images, is_whole = step * batch, run.config.data.train_split == whole
            found.append(Point(run.name, parameters, images, images * flops, 10 ** (-psnr / 10), is_whole))
    return found


def _costs(config: ConfigDict, devices: parallel.Parallel) -> tuple[int, float]:
    """Parameters of the restoring network, and operations of a training step by image."""
    _, costs = efficiency.training_program(config, devices)
    parameters = sum(leaf.size for leaf in measuring.trained_parameters(config))
    return parameters, efficiency.mean_flops(config, costs, devices) / config.data.batch_size


def validations(workdir: Path) -> list[tuple[int, float]]:
    """Returns (step, PSNR in dB) of each validation of a training, in order."""
    lines = tracking.read_metrics(workdir, "eval/psnr")
    return [(line["step"], line["eval/psnr"]) for line in lines if line["step"] > 0]
