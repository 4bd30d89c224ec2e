"""The CNN.

python -m experiments.train --config=configs/cnn.py --workdir=runs/cnn
"""

from faceflax import config as config_lib


def get_config():
    return config_lib.default()
