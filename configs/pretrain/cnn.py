"""The CNN that ships with faceflax: every kind of damage at every severity, in one network.

python -m experiments.train --config=configs/pretrain/cnn.py --workdir=runs/pretrain/cnn \
    --config.data.folder=FOLDER

FOLDER holds the faces in `train/` and photographs of real people to choose by in `validation/`.
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.data.dataset = "face_folder"
    config.data.crop = 0.8
    config.loss.charbonnier = 0.0
    config.loss.psnr = 1.0
    config.eval.tasks = ("mixed",)
    config.wandb.mode = "disabled"
    return config
