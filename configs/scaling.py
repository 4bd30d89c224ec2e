"""How the training of the CNN scales over devices, and with its size, its data and compute.

python -m experiments.scaling --config=configs/scaling.py --workdir=runs/scaling

Small enough for two cores, on which the devices are simulated. Expect the tables of `docs/scaling.md`. On an
accelerator: --config.strong_batch=512 --config.weak_batch=64 --config.experiment.model.dtype=bfloat16
--config.laws.widths="(16,32,64)". Without the trainings: --config.laws.widths="()".
"""

from faceflax import config as config_lib
from faceflax.scaling import settings


def get_config():
    experiment = config_lib.default()
    experiment.data.image_size = 64
    experiment.data.batch_size = 8
    experiment.optim.final_lr = experiment.optim.lr  # each moment of a training stands for a shorter training's end
    experiment.train.duration = "1200steps"
    experiment.train.eval_every = "150steps"
    experiment.train.checkpoint_every = "300steps"
    experiment.eval.max_images = 30
    experiment.eval.best_metric = "step"
    experiment.wandb.mode = "disabled"
    return settings.create(experiment)
