"""From a face to the styles that make it: the start of a restorer with the face prior inside.

faceflax datasets build synthetic_faces --count 5000 --size 128
python -m experiments.train --config=configs/inversion.py --workdir=runs/inversion

The prior's own faces are the pairs, so nothing but the styles is compared, and half of the faces are damaged. On
accelerators no data set is needed: --config.data.source=prior.
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.arm = "inversion"
    config.data.dataset = "synthetic_faces"
    config.data.flip = False
    config.model.name = "face_prior"
    config.loss.charbonnier = 0.0
    config.train.duration = "60epochs"
    config.train.eval_every = "10epochs"
    config.train.checkpoint_every = "5epochs"
    config.eval.max_images = 64
    return config
