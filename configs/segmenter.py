"""A small network that finds masks, glasses, boxes and strokes before aligned faces: `faceflax restore --mask auto`.

python -m experiments.train --config=configs/segmenter.py --workdir=runs/segmenter

Expect, in about three minutes on two cores: 0.95 intersection over union on the validation split, over all tasks and
the bare faces together.
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.arm = "segmenter"
    config.tasks = ("facemask", "facemask", "occlude", "jpeg", "noise", "lowlight 1", "sr 2", "sr 4", "blur 1.5")
    config.data.batch_size = 8
    config.model.name = "segmenter"
    config.model.width = 12
    config.model.middle_blocks = 1
    config.optim.lr = 2e-3
    config.optim.ema_decay = 0.99
    config.train.duration = "1400steps"
    config.train.eval_every = "700steps"
    config.train.checkpoint_every = "700steps"
    config.eval.tasks = ("facemask", "occlude", "noise 25", "jpeg 30")
    config.eval.best_metric = "iou"
    return config
