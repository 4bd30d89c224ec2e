"""From a face to the styles that make it: the start of a restorer with the face prior inside.

faceflax datasets build synthetic_faces --count 5000 --size 128
python -m experiments.train --config=configs/inversion.py --workdir=runs/inversion

The prior's own faces are the pairs, so nothing but the styles is compared, and half of the faces are damaged. On
accelerators the steps can make them, and the faces in the box are validated on:

python -m experiments.train --config=configs/inversion.py --workdir=runs/inversion --config.data.source=prior
  --config.data.dataset=mini_faces --config.data.batch_size=256

After 1,500 steps of 16 faces `train/style_missed` is at 0.44, and still falls.
"""

from faceflax import config as config_lib


def get_config():
    config = config_lib.default()
    config.arm = "inversion"
    config.data.dataset = "synthetic_faces"
    config.data.flip = False
    config.model.name = "face_prior"
    config.loss.charbonnier = 0.0
    config.train.duration = "20000steps"
    config.train.eval_every = "5000steps"
    config.train.checkpoint_every = "500steps"
    config.eval.tasks = ("sr 16", "occlude 50", "blind 3")  # a face of the prior costs a CPU as much as ten of a CNN
    config.eval.max_images = 16
    config.eval.best_metric = "step"  # how like the picture is does not say how like the style is
    return config
