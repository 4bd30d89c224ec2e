"""The segmenter: finds what covers a face. The restorer's U-Net with one channel for its answer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.unet import UNet


class Segmenter(UNet):
    """Finds things before a face; see `__call__`."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns logits float32 [B, H, W, 1], positive where `images` [B, H, W, 3] in [0, 1] show no face."""
        return self.transform(images.astype(jnp.float32) - 0.5, 1)
