"""The face encoder `compact`: a shortened faceres at half the resolution, whose vectors hold under damage.

python -m experiments.train --config=configs/encoder.py --workdir=runs/encoder --config.data.folder=runs/faces
python -m experiments.ship --workdir=runs/encoder --name=compact

`runs/faces` holds the training faces in `train/` and others in `validation/`: faceflax datasets build face_folder
--folder runs/faces. What a training reached is in docs/face_encoder.md.

With identities, here the training people of ORL:
--config.data.dataset=orl_faces --config.data.eval_split=test --config.data.label=identity --config.encoder.margin=1
--config.encoder.people=40
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.arm = "encoder"
    config.tasks = ("mixed",)
    config.data.dataset = "face_folder"
    config.data.image_size = 112
    config.data.batch_size = 32
    config.optim.lr = 5e-4
    config.optim.warmup = "30steps"
    config.optim.weight_decay = 0.0
    config.optim.ema_decay = 0.99
    config.train.duration = "900steps"
    config.train.log_every = "10steps"
    config.train.eval_every = "150steps"
    config.train.checkpoint_every = "50steps"
    config.eval.tasks = ("sr 8", "blur 6", "noise 50", "facemask 1")
    config.eval.max_images = 128
    config.eval.best_metric = "rank1"
    config.wandb.mode = "disabled"
    return config
