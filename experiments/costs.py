"""What a training step costs, part by part: python -m experiments.costs --config=configs/gan.py [--config.x=y ...].

Times the config's step beside that of the CNN and of the GAN with fewer terms in its loss, taking turns, at the same
batch. Nothing is trained and nothing written; the table is printed as Markdown.
"""

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import program
from faceflax import config as config_lib

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/, fields as --config.x=y.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Timings of each step; the median is shown.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 16, "Steps of one timing: all that differ from one to the next.", lower_bound=1)
flags.mark_flags_as_required(["config"])


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import numpy as np

    from faceflax.evaluation.benchmark.efficiency import training_program
    from faceflax.evaluation.tables import Table, to_markdown
    from faceflax.training import parallel, runtime

    config_lib.validate(_CONFIG.value)
    runtime.start()
    devices = parallel.create(_CONFIG.value.parallel.mesh)
    prepared = {name: training_program(each, devices) for name, each in variants(_CONFIG.value).items()}
    seconds = {name: [] for name in prepared}
    for number in range(_ROUNDS.value + 1):
        for name, (step, _) in prepared.items():
            seconds[name].append(step.seconds(_STEPS.value if number else 1))
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}  # the first was the compiler's
    images, first = _CONFIG.value.data.batch_size, next(iter(medians.values()))
    rows = [
        [
            name,
            f"{1e3 * images * medians[name]:.0f}",
            f"{medians[name] / first:.2f}",
            f"{costs.flops / images / 1e9:.1f}",
            f"{costs.peak_bytes / 2**20:.0f}",
        ]
        for name, (_, costs) in prepared.items()
    ]
    header = ["training step", "ms", "by the first", "GFLOP an image", "MiB at once"]
    size = _CONFIG.value.data.image_size
    print(to_markdown(Table(f"Batches of {images} at {size}x{size}, medians of {_ROUNDS.value}", header, rows)))
    return 0


def variants(config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the steps to compare, by name: the CNN's first, then the GAN's with more and more of its terms."""
    pixels = {"loss.perceptual": 0.0, "loss.identity": 0.0, "gan.r1": 0.0, "gan.r2": 0.0}
    perceptual = {"loss.perceptual": config.loss.perceptual or 1.0}
    identity = {"loss.identity": config.loss.identity or 1.0}
    fields = {
        "CNN": {"arm": "cnn"} | pixels,
        "CNN, faces made by the prior": {"arm": "cnn", "data.source": "prior"} | pixels,
        "CNN, perceptual term": {"arm": "cnn"} | pixels | perceptual,
        "CNN, identity term": {"arm": "cnn"} | pixels | identity,
        "GAN without these": {"arm": "gan"} | pixels,
        "GAN, perceptual term": {"arm": "gan"} | pixels | perceptual,
        "GAN, both terms": {"arm": "gan"} | pixels | perceptual | identity,
        "GAN, both terms, lazy R1": {"arm": "gan"} | pixels | perceptual | identity | {"gan.r1": 1.0},
    }
    return {name: _changed(config, changes) for name, changes in fields.items()}


def _changed(config: ConfigDict, changes: dict[str, object]) -> ConfigDict:
    copy = config_lib.from_json(config_lib.to_json(config))
    copy.update_from_flattened_dict(changes)
    return copy


if __name__ == "__main__":
    program.run(main)
