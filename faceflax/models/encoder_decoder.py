"""The restorer: a U-Net that adds what it learned to the image."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.unet import UNet


class EncoderDecoder(UNet):
    """Restores images; see `__call__`."""

    @nn.compact
    def __call__(self, images: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the restored images, float32 [B, H, W, 3].

        Takes `images` [B, H, W, 3] in [0, 1], their holes filled (`inpainting.FILLS`), and `mask` [B, H, W, 1], 1 where
        they were. Nothing is clipped to [0, 1]: who makes a picture does that.
        """
        # The change starts at zero: the untrained model returns its input with holes filled, better than noise for
        # every task.
        return images + self.transform(jnp.concatenate([images - 0.5, mask], -1), 3)
