"""The benchmark at its smallest: small networks on small faces, two seeds, for a quarter of an hour on two cores.

python -m experiments.benchmark --config=configs/benchmark/quick.py --workdir=runs/quick

Expect a whole report in `runs/quick/report/`. It shows how the benchmark works rather than how good the networks are.
"""

from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.data.image_size = 64
    cnn.data.batch_size = 8
    cnn.model.width = 16
    cnn.train.duration = "1200steps"
    cnn.train.eval_every = "600steps"
    cnn.train.checkpoint_every = "600steps"
    cnn.eval.max_images = 8
    cnn.wandb.mode = "disabled"
    continued = config_lib.from_json(config_lib.to_json(cnn))
    continued.init_from = "cnn"
    config = settings.create({"cnn": cnn, "cnn_continued": continued})
    config.seeds = (0, 1)
    config.data.image_size = 64
    config.fidelity.tasks = ("sr 8", "occlude 50")
    config.efficiency.rounds = 3
    return config
