"""Experts of the GAN that ships: one of the CNN's, trained on against a discriminator of its own.

python -m experiments.train --config=configs/pretrain/gan_experts.py:KIND --workdir=runs/pretrain/gan_KIND

KIND is one of configs/pretrain/experts.py. As there, the finest scales alone are trained, on faces that are damaged in
that one way; the discriminator learns for 400 steps before the network heeds it. 1,000 steps take 10 minutes on one
core. Those that ship were trained for 2,000 steps (holes; of 6,000), 2,200 (sr8) and 1,200 (blind):

python -m experiments.ship_gan
  --experts="runs/pretrain/gan_holes@0.3,runs/pretrain/gan_sr8@0.6,runs/pretrain/gan_blind@0.4"

On 34 photographs of people the one for holes then has half of the CNN's KID-like distance under box 50, 0.1 dB lower.
"""

from configs.gan import adversarial
from configs.pretrain import experts


def get_config(kind="holes"):
    config = adversarial(experts.get_config(kind))
    # Minus the PSNR pulls about 17 times as hard as the Charbonnier loss that the other weights were balanced against.
    config.loss.psnr = 0.06
    config.gan.start = 400
    config.gan.lr_ratio = 2.0
    config.gan.augment = ()  # thousands of faces, each seen a few times: nothing to learn by heart
    config.data.batch_size = 4
    config.train.eval_every = "1000steps"
    config.train.checkpoint_every = "500steps"
    config.train.duration = "6000steps"
    return config
