"""The network behind the smallest restorer that ships with faceflax, for machines with nothing to spare.

Small pictures first, as for configs/pretrain/cnn.py, whose data and losses it shares:

python -m experiments.train --config=configs/pretrain/tiny.py:64 --workdir=runs/pretrain/tiny64
python -m experiments.train --config=configs/pretrain/tiny.py:128 --workdir=runs/pretrain/tiny
python -m experiments.train --config=configs/pretrain/tiny.py:128 --config.init_from=runs/pretrain/tiny
  --workdir=runs/pretrain/tiny2 --config.tasks="('mixed', 'jpeg', 'noise', 'lowlight')"
  --config.optim.lr=8e-4 --config.train.duration=6000steps
python -m experiments.train --config=configs/pretrain/tiny.py:128 --config.init_from=runs/pretrain/tiny2
  --workdir=runs/pretrain/tiny3 --config.tasks="('mixed', 'jpeg', 'sr', 'occlude')"
  --config.optim.lr=5e-4 --config.train.duration=4500steps

The last is what the experts of the `tiny` that ships start from (configs/pretrain/tiny_experts.py).

On 17 photographs of people, all damage, the second training ended at 24.12 dB, the third at 24.35 dB and the fourth at
24.40 dB; the CNN with eight times as many parameters is at 24.85 dB. The first two take 6,000 and 10,000 steps.

As wide at the top as a megabyte allows: what is taken away of a noisy picture are all 12 values of each 2x2 patch, and
of 12 channels none is left for anything else. So trained, 18,000 steps, such a network reached 16.7 dB on noise 50.
"""

from configs.pretrain import cnn


def get_config(size="128"):
    config = cnn.get_config(size)
    config.model.width = 20
    config.model.middle_blocks = 0
    if config.init_from:
        config.init_from = "runs/pretrain/tiny64"
        config.train.duration = "10000steps"
    return config
