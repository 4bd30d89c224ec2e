"""The discriminator: a U-Net that judges whether an image is real, as a whole and pixel by pixel.

After Schönfeld et al., "A U-Net Based Discriminator for Generative Adversarial Networks" (CVPR 2020), with spectral
normalisation of every kernel but those of the two heads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.models import spectral
from faceflax.models.layers import DTYPES, Conv1x1, Conv3x3, depth_to_space, he_normal, space_to_depth

_STEM_SIDE = 2  # pixels folded into channels before everything
_HEADS = ("image", "pixel")  # not normalised, so that logits may become as large as they need to
# Of a random image a normalised layer with its ReLU passes on about half: after a few layers nothing is left to judge.
_GAIN = 2.0


class Logits(NamedTuple):
    """Log-odds that images are real: `image` [B] of the whole, `pixel` [B, H, W, 1] of each pixel's surroundings."""

    image: jax.Array
    pixel: jax.Array


class Variables(NamedTuple):
    """What a discriminator is: parameters, and the vectors of spectral normalisation that follow them."""

    params: Any
    vectors: spectral.Vectors


class Discriminator(NamedTuple):
    """A judge of images.

    `init(key, image_size)` returns new variables. `normalize(params, vectors)` returns the kernels to apply and the
    next vectors. `apply(normalized, images, degraded, mask, dtype=None)` judges images [B, H, W, 3] in [0, 1] given
    what they were restored from (`degraded` [B, H, W, 3], `mask` [B, H, W, 1]); float32 logits whatever the dtype.
    """

    init: Callable[[jax.Array, int], Variables]
    normalize: Callable[[Any, spectral.Vectors], tuple[Any, spectral.Vectors]]
    apply: Callable[..., Logits]


def create(config: ConfigDict) -> Discriminator:
    """Returns the discriminator that `config` (the experiment's `config.gan`) describes.

    Raises `UserError` for sizes that make no network; `init` for images that are no multiple of 2 ** (scales + 1).
    """
    if config.width < 1 or config.scales < 1:
        raise UserError(f"config.gan needs width and scales of at least 1, not {config.width} and {config.scales}")
    if config.dtype not in DTYPES:
        raise UserError(f'config.gan.dtype "{config.dtype}" does not exist; choose one of {", ".join(DTYPES)}')
    multiple = _STEM_SIDE * 2**config.scales

    def network(dtype: Any = None) -> UNetDiscriminator:
        return UNetDiscriminator(config.width, config.scales, jnp.dtype(dtype or config.dtype))

    def init(key: jax.Array, image_size: int) -> Variables:
        if image_size % multiple:
            raise UserError(f"this discriminator takes sides that are multiples of {multiple} pixels, not {image_size}")
        shape = (1, image_size, image_size)
        channels = 7 if config.conditional else 3
        params = network().init(key, jnp.zeros((*shape, channels)))["params"]
        vectors = spectral.create_vectors(_without_heads(params))
        # The first estimate is far off.
        vectors = jax.lax.fori_loop(0, 10, lambda _, v: normalize(params, v)[1], vectors)
        return Variables(params, vectors)

    def normalize(params: Any, vectors: spectral.Vectors) -> tuple[Any, spectral.Vectors]:
        normalized, following = spectral.normalize(_without_heads(params), vectors, _GAIN)
        return params | normalized, following

    def apply(normalized: Any, images: jax.Array, degraded: jax.Array, mask: jax.Array, dtype: Any = None) -> Logits:
        inputs = [images - 0.5, degraded - 0.5, mask] if config.conditional else [images - 0.5]
        return network(dtype).apply({"params": normalized}, jnp.concatenate(inputs, -1))

    return Discriminator(init, normalize, apply)


def _without_heads(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in _HEADS}


def discriminate(
    discriminator: Discriminator, variables: Variables, images: jax.Array, degraded: jax.Array, mask: jax.Array
) -> jax.Array:
    """Returns the probability [B] that each image [B, H, W, 3] in [0, 1] is real, given what it was restored from."""
    normalized, _ = discriminator.normalize(variables.params, variables.vectors)
    return jax.nn.sigmoid(discriminator.apply(normalized, images, degraded, mask).image)


class UNetDiscriminator(nn.Module):
    """See `Discriminator.apply`; takes images and what they are judged by as channels, [B, H, W, C].

    The stem works at half the image's side with `width` channels; each of the `scales` after it halves the side and
    doubles the channels. The encoder's end gives the logit of the image, the decoder's those of the pixels.
    """

    width: int
    scales: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> Logits:
        """Returns the logits of images."""
        hidden = self._conv(space_to_depth(inputs.astype(self.dtype), _STEM_SIDE), self.width, "stem")
        skips = []
        for scale in range(self.scales):
            skips.append(hidden)
            down = Conv1x1(2 * hidden.shape[-1], he_normal, self.dtype, name=f"down{scale}")
            hidden = self._conv(down(space_to_depth(hidden, 2)), 2 * hidden.shape[-1], f"encoder{scale}")
        image = Conv1x1(1, dtype=self.dtype, name="image")(hidden.mean((1, 2), keepdims=True))
        for scale in reversed(range(self.scales)):
            up = Conv1x1(2 * hidden.shape[-1], he_normal, self.dtype, name=f"up{scale}")
            hidden = skips[scale] + depth_to_space(up(hidden), 2)
            hidden = self._conv(hidden, hidden.shape[-1], f"decoder{scale}")
        pixel = depth_to_space(Conv1x1(_STEM_SIDE**2, dtype=self.dtype, name="pixel")(hidden), _STEM_SIDE)
        return Logits(image[:, 0, 0, 0].astype(jnp.float32), pixel.astype(jnp.float32))

    def _conv(self, hidden: jax.Array, features: int, name: str) -> jax.Array:
        return nn.leaky_relu(Conv3x3(features, he_normal, self.dtype, name=name)(hidden), 0.2)
