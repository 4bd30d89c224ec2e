"""The reference CNN: all nine kinds of damage at all severities, 3.5M parameters, on the faces in the box.

python -m experiments.train --config=configs/cnn.py --workdir=runs/cnn

2,500 steps of 16 faces. A test of the whole
set of tasks rather than a good model: for that, more faces (`--config.data.dataset=synthetic_faces`) and steps.
"""

from faceflax import config as config_lib


def get_config():
    return config_lib.default()
