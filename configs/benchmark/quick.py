"""The benchmark at its smallest: small networks on small faces, two seeds, a quarter of an hour on two cores.

python -m experiments.benchmark --config=configs/benchmark/quick.py --workdir=runs/quick

Expect the report that lies in `docs/benchmark/`: four kinds of damage at all severities, 60 test faces of 64x64. It
shows how the benchmark works rather than how good the networks can be.
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.tasks = ("noise", "sr", "occlude", "facemask")
    cnn.data.image_size = 64
    cnn.data.batch_size = 4
    cnn.model.width = 16
    cnn.gan.width = 16
    cnn.train.duration = "2200steps"
    cnn.train.eval_every = "2200steps"
    cnn.train.checkpoint_every = "600steps"
    cnn.eval.tasks = cnn.tasks
    cnn.eval.max_images = 8
    cnn.wandb.mode = "disabled"
    arms = twins.create(cnn, "900steps", perceptual=True)
    for name in ("cnn_perceptual", "gan"):
        arms[name].loss.identity = 0.0  # at 64 pixels its network costs more than all others together
    config = settings.create(arms)
    config.seeds = (0, 1)
    config.data.image_size = 64
    config.eval.tasks = cnn.tasks
    config.eval.faces = 1
    config.compare.cnn, config.compare.gan = "cnn_continued", "gan"
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "noise 50", "occlude 50")
    config.efficiency.rounds = 3
    return config
