"""The third arm: a restorer with the face prior inside, trained on against a discriminator.

python -m experiments.train --config=configs/inversion.py --workdir=runs/inversion
python -m experiments.train --config=configs/prior.py --workdir=runs/prior
faceflax restore PHOTO --out out --model runs/prior

On two cores, an hour for 1,000 steps, without a discriminator and with more of what takes the face away:

python -m experiments.train --config=configs/prior.py --workdir=runs/prior --config.arm=cnn
  --config.loss.perceptual=0.05 --config.loss.identity=0.05 --config.data.batch_size=4
  --config.tasks="('mixed', 'sr 16', 'occlude 50', 'blind 3')" --config.train.duration=1200steps

and from there the `prior` of the package, 75 minutes beside other work:

python -m experiments.train --config=configs/prior.py --workdir=runs/prior2 --config.init_from=runs/prior
  --config.arm=cnn --config.loss.perceptual=0.05 --config.loss.identity=0.05 --config.data.batch_size=4
  --config.tasks="('mixed', 'sr 16', 'occlude 50', 'blind 3')" --config.optim.ema_decay=0.995
  --config.train.duration=1600steps
python -m experiments.ship --workdir=runs/prior2 --name=prior

The published generator stays as it is; what steers it learns. To train the generator as well, go on from there:
--config.init_from=runs/prior --config.model.frozen=False --config.optim.lr=5e-5, in another workdir. Expect faces that
are whole and sharp whatever the damage, and less like the person the more the damage took.
"""

from configs.gan import adversarial
from faceflax import config as config_lib


def get_config():
    config = adversarial(config_lib.default())
    config.data.dataset = "synthetic_faces"
    config.model.name = "face_prior"
    config.init_from = "runs/inversion"
    return config
