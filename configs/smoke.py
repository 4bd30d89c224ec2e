"""A small CNN on the faces in the box: does everything work here?

python -m experiments.train --config=configs/smoke.py --workdir=runs/smoke

Takes half a minute on two cores, evaluates and saves a checkpoint twice. Expect 22.6 dB on the validation split.
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.tasks = ("noise 50", "occlude 25")
    config.data.image_size = 64
    config.model.width = 16
    config.train.duration = "300steps"
    config.train.eval_every = "150steps"
    config.train.checkpoint_every = "150steps"
    config.eval.tasks = config.tasks
    return config
