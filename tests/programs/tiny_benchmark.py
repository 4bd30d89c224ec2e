"""A benchmark of one arm as small as can be."""

from faceflax.evaluation.benchmark import settings
from tests import tiny


def get_config():
    """The arm of `tests.tiny`, trained for two steps on one task."""
    config = settings.create(
        {"cnn": tiny.config(tasks=("noise 50",), train__duration="2steps", optim__warmup="1steps")}
    )
    config.seeds = (0,)
    config.data.image_size = 32
    config.eval.tasks, config.eval.curve, config.eval.judges = ("noise 50",), (), ()
    config.eval.max_images, config.eval.batch_size = 4, 4
    config.efficiency.rounds = 0
    return config
