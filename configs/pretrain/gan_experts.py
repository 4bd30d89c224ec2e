"""Experts of the GAN that ships: one of the CNN's, trained on against a discriminator of its own.

python -m experiments.train --config=configs/pretrain/gan_experts.py:KIND --workdir=runs/pretrain/gan_KIND

KIND is one of configs/pretrain/experts.py. As there, the finest scales alone are trained, on faces that are damaged in
that one way; the discriminator learns for 400 steps before the network heeds it.
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
