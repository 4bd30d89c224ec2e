"""The restorer: a U-Net that adds what it learned to the image, its holes filled smoothly.

After Ronneberger et al. (2015), but skip connections are added, not concatenated.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.blocks import BLOCKS
from faceflax.models.inpainting import fill_holes
from faceflax.models.layers import Conv1x1, Conv3x3, depth_to_space, space_to_depth


class EncoderDecoder(nn.Module):
    """Restores images; see `__call__`. Sides must be multiples of `patch * 2 ** len(encoder_blocks)`.

    A pixel-unshuffle of side `patch` comes before everything, so scale 0 works at 1/patch of the image's side with
    `width` channels; each coarser scale halves the side and doubles the channels.
    """

    block: str
    width: int
    encoder_blocks: tuple[int, ...]  # blocks at each scale, finest first
    middle_blocks: int  # blocks below the coarsest of those scales
    decoder_blocks: tuple[int, ...]  # blocks at each scale, coarsest first
    patch: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the restored images, float32 [B, H, W, 3].

        Takes `degraded` [B, H, W, 3] in [0, 1] and `mask` [B, H, W, 1], 1 where pixels are missing. In an image with
        a hole the known pixels are returned as they came; what the image shows in its hole has no influence. Nothing
        is clipped to [0, 1]: who makes a picture does that.
        """
        filled = fill_holes(degraded.astype(jnp.float32), mask)
        inputs = jnp.concatenate([filled - 0.5, mask], -1).astype(self.dtype)
        hidden = Conv3x3(self.width, dtype=self.dtype, name="stem")(space_to_depth(inputs, self.patch))
        skips = []
        for scale, count in enumerate(self.encoder_blocks):
            hidden = self._blocks(hidden, count, f"encoder{scale}")
            skips.append(hidden)
            down = Conv1x1(2 * hidden.shape[-1], dtype=self.dtype, name=f"down{scale}")
            hidden = down(space_to_depth(hidden, 2))
        hidden = self._blocks(hidden, self.middle_blocks, "middle")
        for scale, count in zip(reversed(range(len(skips))), self.decoder_blocks, strict=True):
            up = Conv1x1(2 * hidden.shape[-1], dtype=self.dtype, name=f"up{scale}")
            hidden = skips[scale] + depth_to_space(up(hidden), 2)
            hidden = self._blocks(hidden, count, f"decoder{scale}")
        # A head of zeros: the untrained model returns its input with holes filled, better than noise for every task.
        head = Conv3x3(3 * self.patch**2, nn.initializers.zeros, self.dtype, name="head")
        change = depth_to_space(head(hidden), self.patch).astype(jnp.float32)
        return _keep_known_pixels(filled + change, degraded, mask)

    def _blocks(self, hidden: jax.Array, count: int, name: str) -> jax.Array:
        for index in range(count):
            hidden = BLOCKS[self.block](self.dtype, name=f"{name}_{index}")(hidden)
        return hidden


def _keep_known_pixels(restored: jax.Array, degraded: jax.Array, mask: jax.Array) -> jax.Array:
    has_hole = jnp.any(mask > 0, axis=(1, 2, 3), keepdims=True)
    return jnp.where(has_hole, mask * restored + (1 - mask) * degraded, restored)
