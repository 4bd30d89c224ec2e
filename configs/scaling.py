"""How the training of the CNN scales over devices, and with its size, its data and compute.

faceflax datasets build face_folder --folder runs/faces
python -m experiments.scaling --config=configs/scaling.py --workdir=runs/scaling

`runs/faces` holds the faces of the trainings in `train/` and others in `validation/`, as for configs/pretrain/cnn.py.
Every image is seen four times at most: the fewer there are, the shorter the trainings, and a few hundred are too few.

Small enough for two cores, on which the devices are simulated. Expect the tables of `docs/scaling.md`. On an
accelerator: --config.strong_batch=512 --config.weak_batch=64 --config.experiment.data.batch_size=64
--config.experiment.model.dtype=bfloat16 --config.laws.widths="(16,32,64)". Without the trainings, which alone need the
faces: --config.laws.widths="()".
"""

from faceflax import config as config_lib
from faceflax.scaling import settings


def get_config():
    experiment = config_lib.default()
    experiment.data.dataset = "face_folder"
    experiment.data.folder = "runs/faces"
    experiment.data.image_size = 64
    experiment.data.batch_size = 8
    experiment.optim.final_lr = experiment.optim.lr  # each moment of a training stands for a shorter training's end
    experiment.train.duration = "4epochs"
    experiment.train.eval_every = "0.5epochs"
    experiment.train.checkpoint_every = "0.5epochs"
    experiment.eval.max_images = 32  # a batch
    experiment.eval.best_metric = "step"
    experiment.wandb.mode = "disabled"
    return settings.create(experiment)
