"""The restorer: a U-Net that adds what it learned to the image, its holes filled smoothly."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.inpainting import fill_holes, keep_known_pixels
from faceflax.models.unet import UNet


class EncoderDecoder(UNet):
    """Restores images; see `__call__`."""

    @nn.compact
    def __call__(self, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the restored images, float32 [B, H, W, 3].

        Takes `degraded` [B, H, W, 3] in [0, 1] and `mask` [B, H, W, 1], 1 where pixels are missing. In an image with
        a hole the known pixels are returned as they came; what the image shows in its hole has no influence. Nothing
        is clipped to [0, 1]: who makes a picture does that.
        """
        filled = fill_holes(degraded.astype(jnp.float32), mask)
        # The change starts at zero: the untrained model returns its input with holes filled, better than noise for
        # every task.
        change = self.transform(jnp.concatenate([filled - 0.5, mask], -1), 3)
        return keep_known_pixels(filled + change, degraded, mask)
