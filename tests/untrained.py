"""A workdir of a network as small as can be, which was never trained and so returns its input, with holes filled."""

import jax

from faceflax import config as config_lib
from faceflax.training import arms, checkpoints, workdir


def make_workdir(folder, size, arm="cnn", network="encoder_decoder"):
    """Writes a configuration and a checkpoint of step 1 for images of `size` pixels; returns the folder."""
    config = config_lib.default()
    config.arm, config.gan.width, config.gan.scales = arm, 8, 2
    config.data.image_size, config.model.width, config.model.name = size, 8, network
    config.model.encoder_blocks = config.model.decoder_blocks = (1,)
    config.parallel.mesh.data = 8  # it was trained on more devices than there are here
    workdir.write_start(folder, config, {"commit": "c0ffee", "config": "0"}, active=True)
    saved = checkpoints.Checkpoints(folder, keep=1, best_metric="psnr")
    saved.save(jax.jit(arms.create(config, lambda step: 0.0).init)(), 1, None)
    saved.close()
    return folder
