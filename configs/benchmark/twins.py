"""The arms that every benchmark here compares, made from the CNN's configuration. No config of its own."""

from ml_collections import ConfigDict

from configs.gan import adversarial
from faceflax import config as config_lib


def create(cnn: ConfigDict, duration: str, *, perceptual: bool = False, plain: bool = False) -> dict[str, ConfigDict]:
    """Returns the CNN, the CNN continued for `duration`, and a GAN that starts from the CNN and takes as many steps.

    The last two have equal budgets: the same start, steps and batches. `perceptual` adds the GAN without its
    discriminator: the CNN continued with the GAN's losses and learning rate. `plain` adds a GAN without the perceptual
    and identity terms. Every arm is measured at its last step.
    """
    cnn.eval.best_metric = "step"
    arms = {"cnn": cnn, "cnn_continued": _continued(cnn, duration)}
    if perceptual:
        arms["cnn_perceptual"] = _gan(cnn, duration)
        arms["cnn_perceptual"].arm = "cnn"
    arms["gan"] = _gan(cnn, duration)
    if plain:
        arms["gan_plain"] = _gan(cnn, duration)
        arms["gan_plain"].loss.perceptual = arms["gan_plain"].loss.identity = 0.0
    return arms


def _continued(cnn: ConfigDict, duration: str) -> ConfigDict:
    config = config_lib.from_json(config_lib.to_json(cnn))
    config.init_from = "cnn"
    config.train.duration = duration
    return config


def _gan(cnn: ConfigDict, duration: str) -> ConfigDict:
    return adversarial(_continued(cnn, duration))
