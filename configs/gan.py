"""The GAN: the reference CNN's network, trained on against a discriminator, with perceptual and identity losses.

python -m experiments.train --config=configs/gan.py --workdir=runs/gan --config.init_from=runs/cnn

Starts from the CNN in `runs/cnn` (configs/cnn.py), with which it shares everything but what `adversarial` sets. Expect
a lower PSNR than the CNN's and sharper faces: `train/sharpness` near 1, where the CNN's stays below.
"""

from ml_collections import ConfigDict

from faceflax import config as config_lib


def adversarial(config: ConfigDict) -> ConfigDict:
    """Returns `config`, a CNN's, with the changes that make it a GAN's that starts from that CNN.

    The weights make the losses pull alike at the start: at the images restored by a CNN the perceptual term's gradient
    is 200 times as long as that of the Charbonnier loss, the identity term's 100 times and the adversarial one's 50.
    """
    config.arm = "gan"
    config.loss.perceptual = 0.015
    config.loss.identity = 0.01
    config.gan.loss = "non_saturating"
    config.gan.weight = 0.03
    config.optim.lr = 3e-4
    config.eval.best_metric = "step"
    return config


def get_config():
    config = adversarial(config_lib.default())
    config.init_from = "runs/cnn"
    return config
