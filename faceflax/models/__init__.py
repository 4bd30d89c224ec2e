"""Networks as pure functions: `create` turns a configuration into `init` and `apply`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from faceflax import by_device, deblurring
from faceflax.errors import UserError
from faceflax.models import experts, inpainting, segmenter
from faceflax.models.blocks import BLOCKS
from faceflax.models.encoder_decoder import EncoderDecoder
from faceflax.models.face_prior import restorer as prior_restorer
from faceflax.models.layers import DTYPES

Params = Any  # a tree of float32 arrays


class Model(NamedTuple):
    """A restorer of images.

    `init(key, image_size)` returns new parameters. `apply(params, degraded, mask)` takes images [B, H, W, 3] in [0, 1]
    and masks [B, H, W, 1], 1 where pixels are missing, and returns the restored images, float32 [B, H, W, 3], not
    clipped. H and W must be multiples of `multiple`; `init` and `apply` raise `UserError` when they are not.

    Of a restorer with the face prior inside, `restore_with_styles(params, degraded, mask)` returns its styles as
    well, as `face_prior.restorer.Restored`; other restorers have None. `frozen` are names at the top of the parameters
    whose values no training changes.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array, jax.Array], jax.Array]
    multiple: int
    restore_with_styles: Callable[[Params, jax.Array, jax.Array], prior_restorer.Restored] | None = None
    frozen: tuple[str, ...] = ()


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
    _check_choice("name", config.name, ("encoder_decoder", "face_prior"))
    _check_choice("fill", config.fill, tuple(inpainting.FILLS))
    if config.name != "encoder_decoder":
        for field in ("experts", "deblur"):
            if config[field]:
                raise UserError(f'config.model.{field} is for an encoder_decoder; "{config.name}" has none')
    return _with_prior(config) if config.name == "face_prior" else _encoder_decoder(config)


def blurs(config: ConfigDict) -> tuple[str, ...]:
    """Returns the kind of blur that each network of `config.model` undoes before it mends the rest; "" for none.

    There is one network for each of `experts`, or one. Raises `UserError` for an unknown kind, or another number.
    """
    networks = max(1, len(config.experts))
    for kind in filter(None, config.deblur):
        _check_choice("deblur", kind, sorted(deblurring.KINDS))
    if len(config.deblur) not in (0, networks):
        raise UserError(f"config.model.deblur names {len(config.deblur)} kinds of blur for {networks} networks")
    return tuple(config.deblur) or ("",) * networks


def complete(config: ConfigDict, params: Params, image_size: int) -> Params:
    """Returns a restorer's parameters with the published ones of the face prior, where `params` leaves them out.

    Raises `UserError` when the prior cannot be fetched.
    """
    if config.name != "face_prior" or prior_restorer.PRIOR in params:
        return params
    return params | prior_restorer.load_prior(image_size)


def _encoder_decoder(config: ConfigDict) -> Model:
    unet, multiple = _unet(config)
    network = EncoderDecoder(**unet)
    undone, names = blurs(config), tuple(config.experts)

    def init(key: jax.Array, image_size: int) -> Params:
        _check_multiple(image_size, image_size, multiple)
        if names:
            return experts.init(network, names, key, image_size)
        shape = (1, image_size, image_size)
        return network.init(key, jnp.zeros((*shape, 3)), jnp.zeros((*shape, 1)))["params"]

    def apply(params: Params, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        """In an image with a hole known pixels come back as they are; what it shows in the hole has no influence."""
        _check_multiple(*degraded.shape[1:3], multiple)
        filled = inpainting.FILLS[config.fill](degraded.astype(jnp.float32), mask)
        if names:
            return experts.restore(network, names, undone, params, filled, mask)
        if undone[0]:
            filled = by_device.map_each(functools.partial(deblurring.deblur, undone[0]), filled, mask)
        return inpainting.keep_known_pixels(network.apply({"params": params}, filled, mask), degraded, mask)

    return Model(init, apply, multiple)


def _with_prior(config: ConfigDict) -> Model:
    unet, multiple = _unet(config)
    network = functools.partial(prior_restorer.SteeringNetwork, **unet)
    multiple *= prior_restorer.CELLS
    frozen = (prior_restorer.PRIOR,) if config.frozen else ()

    def init(key: jax.Array, image_size: int) -> Params:
        _check_multiple(image_size, image_size, multiple)
        return prior_restorer.init(network, key, image_size)

    def restore(params: Params, degraded: jax.Array, mask: jax.Array) -> prior_restorer.Restored:
        _check_multiple(*degraded.shape[1:3], multiple)
        filled = inpainting.FILLS[config.fill](degraded.astype(jnp.float32), mask)
        restored = prior_restorer.restore(network, _stop(params, frozen), filled, mask)
        return restored._replace(images=inpainting.keep_known_pixels(restored.images, degraded, mask))

    def apply(params: Params, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        return restore(params, degraded, mask).images

    return Model(init, apply, multiple, restore, frozen)


def _stop(params: Params, frozen: tuple[str, ...]) -> Params:
    """Returns the parameters without gradients for what is frozen, so that none are computed there."""
    return params | {name: jax.lax.stop_gradient(params[name]) for name in frozen}


def create_segmenter(config: ConfigDict) -> Segmenter:
    """Returns the segmenter that `config` (the experiment's `config.model`) describes; raises as `create`."""
    _check_choice("name", config.name, ("segmenter",))
    if config.deblur or config.fill != "smooth":
        raise UserError("config.model.deblur and fill are for restorers; a segmenter looks at images as they are")
    unet, multiple = _unet(config)
    network = segmenter.Segmenter(**unet)

    def init(key: jax.Array, image_size: int) -> Params:
        _check_multiple(image_size, image_size, multiple)
        return network.init(key, jnp.zeros((1, image_size, image_size, 3)))["params"]

    def apply(params: Params, images: jax.Array) -> jax.Array:
        _check_multiple(*images.shape[1:3], multiple)
        return network.apply({"params": params}, images)

    return Segmenter(init, apply, multiple)


def _unet(config: ConfigDict) -> tuple[dict[str, Any], int]:
    """The U-Net of `config`, as its fields, and what its images' sides are multiples of."""
    _check_choice("block", config.block, sorted(BLOCKS))
    _check_choice("dtype", config.dtype, DTYPES)
    _check_sizes(config)
    unet = {
        "block": config.block,
        "width": config.width,
        "encoder_blocks": tuple(config.encoder_blocks),
        "middle_blocks": config.middle_blocks,
        "decoder_blocks": tuple(config.decoder_blocks),
        "remat": config.remat,
        "patch": config.patch,
        "dtype": jnp.dtype(config.dtype),
    }
    return unet, config.patch * 2 ** len(config.encoder_blocks)


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
