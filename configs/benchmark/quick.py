"""The benchmark at its smallest: small networks on small faces, two seeds, a quarter of an hour on two cores.

python -m experiments.benchmark --config=configs/benchmark/quick.py --workdir=runs/quick

Expect a whole report in `runs/quick/report/`: all tasks at all severities, 40 test faces of 64x64. It shows how the
benchmark works rather than how good the networks can be.
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.data.image_size = 64
    cnn.data.batch_size = 4
    cnn.model.width = 16
    cnn.gan.width = 16
    cnn.train.duration = "2000steps"
    cnn.train.eval_every = "2000steps"
    cnn.train.checkpoint_every = "500steps"
    cnn.eval.max_images = 8
    cnn.wandb.mode = "disabled"
    config = settings.create(twins.create(cnn, "600steps"))
    config.seeds = (0, 1)
    config.data.image_size = 64
    config.eval.max_images = 40
    config.compare.cnn, config.compare.gan = "cnn_continued", "gan"
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "noise 50", "occlude 50")
    config.efficiency.rounds = 3
    return config
