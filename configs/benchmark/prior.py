"""The third arm beside the two that ship, where there is little left to see: nothing is trained.

python -m experiments.benchmark --config=configs/benchmark/prior.py --workdir=runs/benchmark_prior

`runs/prior` is a workdir of configs/prior.py, `runs/faces` the folder of configs/pretrain/cnn.py, whose `test` split is
measured on; --config.experiments.prior.arm=cnn where it was trained without a discriminator. The efficiency table times
the arms in turns, at length on a CPU; --config.efficiency.rounds=0 leaves it out.
"""

from configs import prior
from configs.pretrain import experts, gan
from faceflax.evaluation.benchmark import settings


def get_config():
    config = settings.create({"cnn": experts.get_config(), "gan": gan.get_config(), "prior": prior.get_config()})
    config.trained.cnn, config.trained.gan, config.trained.prior = ("cnn",), ("gan",), ("runs/prior",)
    config.seeds = (0,)
    config.data.dataset = "face_folder"
    config.data.folder = "runs/faces"
    config.eval.tasks = ("sr 16", "occlude 50", "blind 3")
    config.eval.curve = ()
    config.eval.judges = ("perceptual", "identity", "kid", "dlib")
    config.eval.max_images = 128
    config.eval.faces = 4
    config.compare.cnn, config.compare.gan = "cnn", "gan"
    config.efficiency.rounds, config.efficiency.steps, config.efficiency.batches = 3, 4, 1
    return config
