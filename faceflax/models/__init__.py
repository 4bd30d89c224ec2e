"""Networks as pure functions: `create` turns a configuration into `init` and `apply`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.models import segmenter
from faceflax.models.blocks import BLOCKS
from faceflax.models.encoder_decoder import EncoderDecoder
from faceflax.models.layers import DTYPES
from faceflax.models.unet import UNet

Params = Any  # a tree of float32 arrays


class Model(NamedTuple):
    """A restorer of images.

    `init(key, image_size)` returns new parameters. `apply(params, degraded, mask)` takes images [B, H, W, 3] in [0, 1]
    and masks [B, H, W, 1], 1 where pixels are missing, and returns the restored images, float32 [B, H, W, 3], not
    clipped. H and W must be multiples of `multiple`; `init` and `apply` raise `UserError` when they are not.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array, jax.Array], jax.Array]
    multiple: int


class Segmenter(NamedTuple):
    """Finds things that cover faces.

    `init` and `multiple` are as `Model`'s. `apply(params, images)` takes images [B, H, W, 3] in [0, 1] and returns
    logits float32 [B, H, W, 1], positive where something covers the face.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array], jax.Array]
    multiple: int


def create(config: ConfigDict) -> Model:
    """Returns the restorer that `config` (the experiment's `config.model`) describes.

    Raises `UserError` when it names something that is no restorer, or asks for sizes that make no network.
    """
    network, multiple = _create(config, "encoder_decoder", EncoderDecoder)

    def init(key: jax.Array, image_size: int) -> Params:
        _check_multiple(image_size, image_size, multiple)
        shape = (1, image_size, image_size)
        return network.init(key, jnp.zeros((*shape, 3)), jnp.zeros((*shape, 1)))["params"]

    def apply(params: Params, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        _check_multiple(*degraded.shape[1:3], multiple)
        return network.apply({"params": params}, degraded, mask)

    return Model(init, apply, multiple)


def create_segmenter(config: ConfigDict) -> Segmenter:
    """Returns the segmenter that `config` (the experiment's `config.model`) describes; raises as `create`."""
    network, multiple = _create(config, "segmenter", segmenter.Segmenter)

    def init(key: jax.Array, image_size: int) -> Params:
        _check_multiple(image_size, image_size, multiple)
        return network.init(key, jnp.zeros((1, image_size, image_size, 3)))["params"]

    def apply(params: Params, images: jax.Array) -> jax.Array:
        _check_multiple(*images.shape[1:3], multiple)
        return network.apply({"params": params}, images)

    return Segmenter(init, apply, multiple)


def _create(config: ConfigDict, name: str, kind: type[UNet]) -> tuple[UNet, int]:
    """The network of `config`, which must be called `name`, and what its images' sides are multiples of."""
    _check_choice("name", config.name, (name,))
    _check_choice("block", config.block, sorted(BLOCKS))
    _check_choice("dtype", config.dtype, DTYPES)
    _check_sizes(config)
    network = kind(
        block=config.block,
        width=config.width,
        encoder_blocks=tuple(config.encoder_blocks),
        middle_blocks=config.middle_blocks,
        decoder_blocks=tuple(config.decoder_blocks),
        remat=config.remat,
        patch=config.patch,
        dtype=jnp.dtype(config.dtype),
    )
    return network, config.patch * 2 ** len(config.encoder_blocks)


def _check_choice(field: str, value: str, choices: tuple[str, ...] | list[str]) -> None:
    if value not in choices:
        raise UserError(f'config.model.{field} = "{value}" is not possible here: choose one of {", ".join(choices)}')


def _check_sizes(config: ConfigDict) -> None:
    if config.width < 1 or config.patch < 1:
        raise UserError(f"config.model needs width and patch of at least 1, not {config.width} and {config.patch}")
    if len(config.encoder_blocks) != len(config.decoder_blocks):
        raise UserError(
            "config.model.encoder_blocks and decoder_blocks need one number for each scale, as many in both: "
            f"not {tuple(config.encoder_blocks)} and {tuple(config.decoder_blocks)}"
        )


def _check_multiple(height: int, width: int, multiple: int) -> None:
    if height % multiple or width % multiple:
        raise UserError(f"this model takes sides that are multiples of {multiple} pixels, not {height}x{width}")
