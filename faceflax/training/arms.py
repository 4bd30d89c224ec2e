"""The arms by name: the ways of training a network that `config.arm` chooses from."""

import optax
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.training import cnn, encoder, gan, prior_data, segmenter
from faceflax.training.state import Arm, MapImages, SplitClasses

ARMS = {"cnn": cnn.create, "gan": gan.create, "segmenter": segmenter.create, "encoder": encoder.create}


def create(
    config: ConfigDict,
    learning_rate: optax.Schedule,
    map_images: MapImages,
    split_classes: SplitClasses = lambda scores: scores,
) -> Arm:
    """Makes the arm that `config.arm` names; raises `UserError` for one that does not exist.

    `learning_rate` is a function of the step; `map_images` and `split_classes` are those methods of the `Parallel` it
    will run on. Without the second nothing changes but where the scores of many people lie.
    """
    if config.arm not in ARMS:
        raise UserError(f'config.arm "{config.arm}" does not exist; choose one of {", ".join(ARMS)}')
    if config.arm == "encoder":
        return encoder.create(config, learning_rate, map_images, split_classes)
    arm = ARMS[config.arm](config, learning_rate, map_images)
    return prior_data.feed(arm, config, map_images) if config.data.source == prior_data.NAME else arm
