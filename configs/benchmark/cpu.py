"""The benchmark for two hours of two cores: one seed at 128x128, four kinds of damage at all severities.

faceflax datasets build synthetic_faces --count 5000 --size 256
python -m experiments.benchmark --config=configs/benchmark/cpu.py --workdir=runs/cpu

Expect a whole report in `runs/cpu/report/`, with intervals over images but no spread over seeds. So few steps do not
suffice for all nine kinds of damage at once.
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.tasks = ("noise", "sr", "occlude", "facemask")
    cnn.data.dataset = "synthetic_faces"
    cnn.data.batch_size = 4
    cnn.train.duration = "5000steps"
    cnn.train.eval_every = "1000steps"
    cnn.train.checkpoint_every = "500steps"
    cnn.eval.tasks = ("noise 25", "sr 8", "occlude 50", "facemask 1")
    cnn.eval.max_images = 32
    cnn.wandb.mode = "disabled"
    arms = twins.create(cnn, "5000steps")
    arms["gan"].gan.augment = ()  # thousands of faces, each seen a few times: nothing to learn by heart
    config = settings.create(arms)
    config.seeds = (0,)
    config.data.dataset = "synthetic_faces"
    config.eval.tasks = cnn.tasks
    config.eval.max_images = 100
    config.compare.cnn, config.compare.gan = "cnn_continued", "gan"
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "noise 50", "occlude 50", "facemask 1")
    return config
