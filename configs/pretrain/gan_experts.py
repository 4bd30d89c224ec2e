"""Experts of the GAN that ships: one of the CNN's, trained on against a discriminator of its own.

python -m experiments.train --config=configs/pretrain/gan_experts.py:KIND --workdir=runs/pretrain/gan_KIND

KIND is one of configs/pretrain/experts.py. As there, the finest scales alone are trained, on faces that are damaged in
that one way; the discriminator learns for 400 steps before the network heeds it. 1,000 steps take 10 minutes on one
core. Those that ship were trained for 2,000 steps (holes; of 6,000), 2,200 (sr8) and 1,200 (blind):

python -m experiments.ship_gan
  --experts="runs/pretrain/gan_holes@0.3,runs/pretrain/gan_sr8@0.6,runs/pretrain/gan_blind@0.4"

On 34 photographs of people the one for holes then has half of the CNN's KID-like distance under box 50, 0.1 dB lower.
"""

from configs.pretrain import experts
from configs.pretrain.gan import against_discriminator


def get_config(kind="holes"):
    config = against_discriminator(experts.get_config(kind))
    config.gan.start = 400
    config.train.eval_every = "1000steps"
    config.train.checkpoint_every = "500steps"
    config.train.duration = "6000steps"
    return config
