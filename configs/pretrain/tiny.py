"""The smallest restorer that ships with faceflax: under 1 MB, for machines with nothing to spare.

Small pictures first, as for configs/pretrain/cnn.py, whose data and losses it shares:

python -m experiments.train --config=configs/pretrain/tiny.py:64 --workdir=runs/pretrain/tiny64
python -m experiments.train --config=configs/pretrain/tiny.py:128 --workdir=runs/pretrain/tiny
python -m experiments.ship --workdir=runs/pretrain/tiny --name=tiny
"""

from configs.pretrain import cnn


def get_config(size="128"):
    config = cnn.get_config(size)
    config.model.width = 12
    if config.init_from:
        config.init_from = "runs/pretrain/tiny64"
    return config
