"""The arms by name: the ways of training a network that `config.arm` chooses from."""

import optax
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.training import cnn, encoder, experts, gan, inversion, prior_data, segmenter
from faceflax.training.state import Arm, Collectives

ARMS = {
    "cnn": cnn.create,
    "gan": gan.create,
    "inversion": inversion.create,
    "segmenter": segmenter.create,
    "encoder": encoder.create,
    "experts": experts.create,
}


def check_length(config: ConfigDict, total_steps: int) -> None:
    """Raises `UserError` when a training of so many steps ends before all of the arm's networks have learned."""
    if config.arm == "gan" and config.gan.start >= total_steps:
        raise UserError(
            f"config.gan.start is {config.gan.start} steps of {total_steps} in all: the generator would never heed the "
            "discriminator; make it shorter"
        )


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives | None = None) -> Arm:
    """Makes the arm that `config.arm` names; raises `UserError` for one that does not exist.

    `learning_rate` is a function of the step; `collectives` are those of the `Parallel` it will run on, None for one
    device.
    """
    if config.arm not in ARMS:
        raise UserError(f'config.arm "{config.arm}" does not exist; choose one of {", ".join(ARMS)}')
    collectives = collectives or Collectives()
    arm = ARMS[config.arm](config, learning_rate, collectives)
    return prior_data.feed(arm, config, collectives) if config.data.source == prior_data.NAME else arm
