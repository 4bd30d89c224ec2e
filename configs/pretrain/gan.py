"""The GAN that ships with faceflax: the shipped CNN, trained on against a discriminator.

python -m experiments.train --config=configs/pretrain/gan.py --workdir=runs/pretrain/gan
python -m experiments.ship --workdir=runs/pretrain/gan --name=gan

The data are those of configs/pretrain/cnn.py.
"""

from configs.gan import adversarial
from configs.pretrain import cnn


def get_config():
    config = adversarial(cnn.get_config("128"))
    config.init_from = "cnn"
    # Minus the PSNR pulls about 17 times as hard as the Charbonnier loss that the other weights were balanced against.
    config.loss.psnr = 0.06
    config.gan.augment = ()  # thousands of faces, each seen a few times: nothing to learn by heart
    config.data.batch_size = 4
    config.train.duration = "5000steps"
    return config
