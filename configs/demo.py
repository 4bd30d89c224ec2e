"""The demonstration: a CNN for three kinds of damage, trained for a few minutes on the faces in the box.

python -m experiments.train --config=configs/demo.py --workdir=runs/demo

Expect, in under four minutes on two cores: 25.8 dB on noise 50, 27.2 on sr 4, 17.5 in the hole of occlude 25 (on the
test split, by `python -m experiments.evaluate --workdir=runs/demo`).
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.tasks = ("noise 50", "sr 4", "occlude 25")
    config.data.batch_size = 4  # so few faces are learned better in many small steps than in few large ones
    config.train.duration = "1600steps"
    config.train.eval_every = "800steps"
    config.train.checkpoint_every = "400steps"
    config.optim.lr = 1e-3
    config.optim.warmup = "50steps"
    config.eval.tasks = config.tasks
    return config
