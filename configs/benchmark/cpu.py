"""The benchmark for two hours of two cores: one seed at 128x128, all tasks at all severities.

faceflax datasets build synthetic_faces --count 10000 --size 256
python -m experiments.benchmark --config=configs/benchmark/cpu.py --workdir=runs/cpu

Expect a whole report in `runs/cpu/report/`, with intervals over images but no spread over seeds.
"""

from configs.benchmark import twins
from faceflax import config as config_lib
from faceflax.evaluation.benchmark import settings


def get_config():
    cnn = config_lib.default()
    cnn.data.dataset = "synthetic_faces"
    cnn.data.batch_size = 4
    cnn.optim.lr = 1e-3
    cnn.train.duration = "6000steps"
    cnn.train.eval_every = "2000steps"
    cnn.train.checkpoint_every = "500steps"
    cnn.eval.max_images = 16
    config = settings.create(twins.create(cnn, "5000steps"))
    config.seeds = (0,)
    config.data.dataset = "synthetic_faces"
    config.eval.max_images = 100
    config.compare.cnn, config.compare.gan = "cnn_continued", "gan"
    config.fidelity.cnn, config.fidelity.gan = "cnn", "gan"
    config.fidelity.tasks = ("sr 8", "noise 50", "occlude 50", "facemask 1")
    return config
