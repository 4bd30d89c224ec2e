"""The U-Net that all networks from image to image share.

After Ronneberger et al. (2015), but skip connections are added, not concatenated.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.blocks import BLOCKS
from faceflax.models.layers import Conv1x1, Conv3x3, depth_to_space, space_to_depth


class UNet(nn.Module):
    """What a network of this kind is made of. Sides must be multiples of `patch * 2 ** len(encoder_blocks)`.

    A pixel-unshuffle of side `patch` comes before everything, so scale 0 works at 1/patch of the image's side with
    `width` channels; each coarser scale halves the side and doubles the channels.
    """

    block: str
    width: int
    encoder_blocks: tuple[int, ...]  # blocks at each scale, finest first
    middle_blocks: int  # blocks below the coarsest of those scales
    decoder_blocks: tuple[int, ...]  # blocks at each scale, coarsest first
    patch: int
    remat: bool  # keep each block's input alone for the backward pass, and compute the block again there
    dtype: Any = jnp.float32

    def transform(self, images: jax.Array, channels: int) -> jax.Array:
        """Maps `images` [B, H, W, C] to float32 [B, H, W, channels]: zeros until it was trained."""
        head = Conv3x3(channels * self.patch**2, nn.initializers.zeros, self.dtype, name="head")
        return depth_to_space(head(self.describe(images)[-1]), self.patch).astype(jnp.float32)

    def describe(self, images: jax.Array) -> list[jax.Array]:
        """Returns what is known of `images` [B, H, W, C] at each scale, coarsest first.

        The sides are H / (patch * 2^n) for n from `len(encoder_blocks)` down to 0, the channels `width` * 2^n.
        """
        hidden = Conv3x3(self.width, dtype=self.dtype, name="stem")(
            space_to_depth(images.astype(self.dtype), self.patch)
        )
        skips = []
        for scale, count in enumerate(self.encoder_blocks):
            hidden = self._blocks(hidden, count, f"encoder{scale}")
            skips.append(hidden)
            down = Conv1x1(2 * hidden.shape[-1], dtype=self.dtype, name=f"down{scale}")
            hidden = down(space_to_depth(hidden, 2))
        found = [self._blocks(hidden, self.middle_blocks, "middle")]
        for scale, count in zip(reversed(range(len(skips))), self.decoder_blocks, strict=True):
            up = Conv1x1(2 * found[-1].shape[-1], dtype=self.dtype, name=f"up{scale}")
            hidden = skips[scale] + depth_to_space(up(found[-1]), 2)
            found.append(self._blocks(hidden, count, f"decoder{scale}"))
        return found

    def _blocks(self, hidden: jax.Array, count: int, name: str) -> jax.Array:
        block = nn.remat(BLOCKS[self.block]) if self.remat else BLOCKS[self.block]
        for index in range(count):
            hidden = block(self.dtype, name=f"{name}_{index}")(hidden)
        return hidden
