"""The arms that every benchmark here compares, made from the CNN's configuration. No config of its own."""

from ml_collections import ConfigDict

from configs.gan import adversarial
from faceflax import config as config_lib


def create(
    cnn: ConfigDict, duration: str, *, perceptual: bool = False, plain: bool = False, prior: bool = False
) -> dict[str, ConfigDict]:
    """Returns the CNN, the CNN continued for `duration`, and a GAN that starts from the CNN and takes as many steps.

    The last two have equal budgets: the same start, steps and batches. `perceptual` adds the GAN without its
    discriminator: the CNN continued with the GAN's losses and learning rate. `plain` adds a GAN without the perceptual
    and identity terms. `prior` adds the GAN with the face prior inside, and its start, which takes as long as the CNN:
    as much as both take in all, though a step costs more and the prior itself was trained by others before. Every arm
    is measured at its last step.
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
    if prior:
        arms["inversion"] = _inversion(cnn)
        arms["prior"] = _gan(cnn, duration)
        arms["prior"].model.name = "face_prior"
        arms["prior"].init_from = "inversion"
    return arms


def _inversion(cnn: ConfigDict) -> ConfigDict:
    config = _copy(cnn)
    config.arm = "inversion"
    config.model.name = "face_prior"
    config.data.flip, config.data.crop = False, 1.0
    for name in config.loss:
        config.loss[name] = 0.0
    return config


def _copy(config: ConfigDict) -> ConfigDict:
    return config_lib.from_json(config_lib.to_json(config))


def _continued(cnn: ConfigDict, duration: str) -> ConfigDict:
    config = _copy(cnn)
    config.init_from = "cnn"
    config.train.duration = duration
    return config


def _gan(cnn: ConfigDict, duration: str) -> ConfigDict:
    return adversarial(_continued(cnn, duration))
