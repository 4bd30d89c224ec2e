"""The arms by name: the ways of training a network that `config.arm` chooses from."""

import optax
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.training import cnn, gan, prior_data, segmenter
from faceflax.training.state import Arm, MapImages

ARMS = {"cnn": cnn.create, "gan": gan.create, "segmenter": segmenter.create}


def create(config: ConfigDict, learning_rate: optax.Schedule, map_images: MapImages) -> Arm:
    """Makes the arm that `config.arm` names; raises `UserError` for one that does not exist.

    `learning_rate` is a function of the step; `map_images` is `Parallel.map_images` of the devices it will run on.
    """
    if config.arm not in ARMS:
        raise UserError(f'config.arm "{config.arm}" does not exist; choose one of {", ".join(ARMS)}')
    arm = ARMS[config.arm](config, learning_rate, map_images)
    return prior_data.feed(arm, config, map_images) if config.data.source == prior_data.NAME else arm
