"""The GAN that ships with faceflax: a CNN for all damage, trained on against a discriminator.

python -m experiments.train --config=configs/pretrain/gan.py --workdir=runs/pretrain/gan
python -m experiments.ship --workdir=runs/pretrain/gan --name=gan --fidelity=0.4 --eight_bits

The data are those of configs/pretrain/cnn.py; it starts from the shipped CNN (of one with experts, as now, the first).
For the first 1,500 steps the discriminator learns what the network makes, and the network learns by PSNR and by the
perceptual and identity terms alone. On 17 photographs of people, all damage, this ended at 24.14 dB, and at 16.43 dB
inside of holes; the CNN that it started from was at 24.85 dB. Four tenths of the way to that CNN, as it first shipped,
it kept what it gained in likeness and lost much of its texture: docs/models/twins_shipped/report.md. What ships now
is made of experts instead (configs/pretrain/gan_experts.py), which are better on light damage and on large holes.
"""

from configs.gan import adversarial
from configs.pretrain import cnn


def get_config():
    config = against_discriminator(cnn.get_config("128"))
    config.init_from = "cnn"
    config.model.fill = "face"
    config.gan.start = 1500
    config.train.duration = "7000steps"
    return config


def against_discriminator(config):
    """Returns the `config` of a network that ships, a CNN's, with the changes that make it a GAN's."""
    config = adversarial(config)
    # Minus the PSNR pulls about 17 times as hard as the Charbonnier loss that the other weights were balanced against.
    config.loss.psnr = 0.06
    config.gan.lr_ratio = 2.0
    config.gan.augment = ()  # thousands of faces, each seen a few times: nothing to learn by heart
    config.data.batch_size = 4
    return config
