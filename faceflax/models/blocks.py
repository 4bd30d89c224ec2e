"""The blocks an encoder-decoder is built of; each maps [B, H, W, C] to the same shape."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from faceflax.models.layers import Conv1x1, Conv3x3, Depthwise3x3, LayerNorm, he_normal

# The branch's last layer starts small, so that a deep stack without normalisation starts near the identity.
_small_normal = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to the input, without normalisation (Lim et al. 2017)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns what the block makes of `images`."""
        channels = images.shape[-1]
        hidden = nn.relu(Conv3x3(channels, he_normal, self.dtype)(images))
        return images + Conv3x3(channels, _small_normal, self.dtype)(hidden)


class NAFBlock(nn.Module):
    """The block of NAFNet (Chen et al. 2022): gated convolutions with channel attention, then a gated pixel-wise layer.

    Both residual scales start at 1 with a small last layer, where the paper starts them at 0: scales of zero leave
    everything behind them without gradient, and short trainings never recover. The attention's bias starts at 1, so
    that the gate passes its input on until it learns to choose.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns what the block makes of `images`."""
        channels = images.shape[-1]
        hidden = Conv1x1(2 * channels, dtype=self.dtype)(LayerNorm()(images))
        hidden = _simple_gate(Depthwise3x3(dtype=self.dtype)(hidden))
        hidden = _ChannelAttention(self.dtype)(hidden)
        images = images + self._scale("spatial_scale", channels) * Conv1x1(channels, _small_normal, self.dtype)(hidden)
        hidden = _simple_gate(Conv1x1(2 * channels, dtype=self.dtype)(LayerNorm()(images)))
        return images + self._scale("pixel_scale", channels) * Conv1x1(channels, _small_normal, self.dtype)(hidden)

    def _scale(self, name: str, channels: int) -> jax.Array:
        return self.param(name, nn.initializers.ones, (channels,)).astype(self.dtype)


class _ChannelAttention(nn.Module):
    """Scales each channel by a linear function of all channels' means over the image."""

    dtype: Any

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        means = images.mean((1, 2), keepdims=True)
        return images * (1 + Conv1x1(images.shape[-1], dtype=self.dtype)(means))


def _simple_gate(images: jax.Array) -> jax.Array:
    """Multiplies the first half of the channels by the second."""
    first, second = jnp.split(images, 2, axis=-1)
    return first * second


BLOCKS = {"nafnet": NAFBlock, "residual": ResidualBlock}
