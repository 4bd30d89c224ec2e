"""Workdirs of networks as small as can be, which were never trained and so return their input, with holes filled."""

import jax
import jax.numpy as jnp

from faceflax import config as config_lib
from faceflax.training import arms, checkpoints, workdir
from faceflax.training.state import TrainState


def make_workdir(folder, size, arm="cnn", network="encoder_decoder"):
    """Writes a configuration and a checkpoint of step 1 for images of `size` pixels; returns the folder."""
    config = config_lib.default()
    config.arm, config.gan.width, config.gan.scales = arm, 8, 2
    config.data.image_size, config.model.width, config.model.name = size, 8, network
    config.model.encoder_blocks = config.model.decoder_blocks = (1,)
    config.parallel.mesh.data = 8  # it was trained on more devices than there are here
    return _save(folder, config, jax.jit(arms.create(config, lambda step: 0.0).init)())


def make_gan(folder, cnn):
    """Writes a "GAN" that was trained from the workdir `cnn` and returns something else than its input."""
    config = workdir.read_config(cnn)
    config.arm, config.init_from = "gan", str(cnn)
    save(folder, config, jax.tree.map(lambda leaf: leaf + 0.01, checkpoints.load_for_inference(cnn).params))
    workdir.write_origin(folder, 1)
    return folder


def save(folder, config, params):
    """Writes a workdir of averaged parameters; returns the folder."""
    return _save(folder, config, TrainState(jnp.int32(1), params, params, {"none": jnp.zeros(1)}))


def _save(folder, config, state):
    workdir.write_start(folder, config, {"commit": "c0ffee", "config": "0"}, active=True)
    saved = checkpoints.Checkpoints(folder, keep=1, best_metric="psnr")
    saved.save(state, 1, None)
    saved.close()
    return folder
