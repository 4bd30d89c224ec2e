"""A restorer whose finest scales are kept for one kind of damage each, and a router that tells which an image has.

One U-Net for all damage shares its few channels at the fine scales among tasks that want opposite things of them;
trained on one kind alone, the same network mends that much better (docs/experts.md). So networks that were trained on
from one, each on its kind and at the two finest scales alone, are put together here: what they share is held once. Each
image passes through one of them, so it costs what one network costs, and what it takes to undo a blur first where its
expert does (a mixture of experts with hard routing, Shazeer et al. 2017, but of experts that were trained apart).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from faceflax.deblurring import deblur, fourier, is_plausible
from faceflax.degradations.tasks import OCCLUDING
from faceflax.errors import UserError
from faceflax.models import resampling
from faceflax.models.encoder_decoder import EncoderDecoder
from faceflax.models.inpainting import keep_known_pixels
from faceflax.models.layers import Conv3x3, he_normal, space_to_depth

Params = Any

OWN = ("stem", "encoder0", "encoder1", "down0", "up0", "decoder1", "decoder0", "head")
"""What each expert has for itself, by the start of the modules' names (as `config.optim.modules`)."""

ROUTER, SHARED, EXPERTS = "router", "shared", "experts"
"""The parts of the parameters: the router's, what all experts share, and their own, stacked along a first axis."""


class Router(nn.Module):
    """Tells kinds of damage apart by the spectrum of the whole image.

    Blur of each kind, resampling, JPEG and noise have their marks there, wherever the face is: how fast the power falls
    and in which direction, where it is zero, what is repeated, and how high the floor is.
    """

    experts: tuple[str, ...]  # the tasks of each, as `config.model.experts`
    width: int  # of what it knows of an image

    @nn.compact
    def __call__(self, degraded: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns logits float32 [B, experts] of `degraded` [B, H, W, 3] in [0, 1] with its `mask` [B, H, W, 1]."""
        images = degraded.astype(jnp.float32)
        known = (images - 0.5) * (1 - mask)  # what a hole shows has no influence
        hidden = (log_spectrum(known) + 10) / 5
        for features in (24, 32, 32):
            hidden = space_to_depth(nn.relu(Conv3x3(features, he_normal)(hidden)), 2)
        places = hidden.reshape(-1, math.prod(hidden.shape[1:]))
        hidden = jnp.concatenate([places, 4 * known.mean((1, 2))], -1)
        hidden = nn.relu(nn.Dense(self.width, name="hidden")(hidden))
        logits = nn.Dense(len(self.experts), name="logits")(hidden)
        takes_holes = take_holes(self.experts)
        if takes_holes.all():
            return logits
        has_hole = mask.max((1, 2)) > 0
        return jnp.where(has_hole == takes_holes, logits, -jnp.inf)


def take_holes(names: tuple[str, ...]) -> np.ndarray:
    """Tells which experts of these `names` take images with holes, bool [experts]: those for them, or else all.

    Where some are for holes, all other images are left to the others.
    """
    found = are_for_holes(names)
    return found if found.any() else np.ones_like(found)


def are_for_holes(names: tuple[str, ...]) -> np.ndarray:
    """Tells which experts of these `names` have tasks that make holes, bool [experts]."""
    return np.array([not {spec.split()[0] for spec in tasks.split(",")}.isdisjoint(OCCLUDING) for tasks in names])


def log_spectrum(images: jax.Array) -> jax.Array:
    """Returns the logarithm of the power of luma and two colour differences of images [B, H, W, 3], [B, 32, 64, 3].

    Rows are vertical frequencies from 0 to half a cycle a pixel, columns horizontal ones from minus that to that, both
    averaged to that number whatever the image's size.
    """
    height, width = images.shape[1:3]
    planes = jnp.einsum("bhwc,cd->bdhw", images, _LUMA_CHROMA)
    power = fourier.power(planes, np.arange(height // 2), np.arange(width) - width // 2) / (height * width)
    levels = jnp.log(power + 1e-6)  # about that of rounding to 8 bits
    rows, columns = resampling.averages(32, height // 2), resampling.averages(64, width)
    return jnp.einsum("ru,bduv,cv->brcd", rows, levels, columns)


_LUMA_CHROMA = np.array([[0.299, 0.5, -0.169], [0.587, -0.419, -0.331], [0.114, -0.081, 0.5]], np.float32)


def init(network: EncoderDecoder, names: tuple[str, ...], key: jax.Array, image_size: int) -> Params:
    """Returns new parameters: a router, and experts of these `names` (`config.model.experts`) that are all alike."""
    network_key, router_key = jax.random.split(key)
    images = jnp.zeros((1, image_size, image_size, 3))
    plain = network.init(network_key, images, images[..., :1])["params"]
    router = Router(names, 2 * network.width).init(router_key, images, images[..., :1])["params"]
    return spread(plain, len(names)) | {ROUTER: router}


def route(params: Params, names: tuple[str, ...], degraded: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the router's logits [B, experts] of images [B, H, W, 3] with masks [B, H, W, 1]."""
    width = len(params[ROUTER]["hidden"]["bias"])
    return Router(names, width).apply({"params": params[ROUTER]}, degraded, mask)


def restore(
    network: EncoderDecoder,
    names: tuple[str, ...],
    blurs: tuple[str, ...],
    params: Params,
    degraded: jax.Array,
    mask: jax.Array,
) -> jax.Array:
    """Returns the restored images, float32 [B, H, W, 3], each by the likeliest of the experts.

    `blurs` are what each of these undoes first (`config.model.deblur`). Where what comes out is not plausible, as of an
    image whose compression was hidden by turning it, the first expert restores the image as it was.

    A loop over the images, on all devices: under `vmap` every convolution would have kernels of its own for each image,
    which CPUs compute two to eight times as slowly, and exported programs cannot hold for batches of any size. XLA
    counts the work of one image.
    """
    chosen = jnp.argmax(route(params, names, degraded, mask), -1)
    params = jax.tree.map(jnp.asarray, params)  # numpy's arrays cannot be looked up by what is traced
    undone_by = {kind: jnp.array([blur == kind for blur in blurs]) for kind in sorted(set(blurs) - {""})}

    def one(image: tuple[jax.Array, ...]) -> jax.Array:
        degraded, mask, expert = image
        sharp = degraded
        for kind, is_undone in undone_by.items():  # exporters know choices between two alone
            undo = functools.partial(deblur, kind)
            sharp = lax.cond(is_undone[expert], undo, lambda image, mask: image, sharp, mask)
        if undone_by:
            is_sharp = is_plausible(degraded, sharp)
            sharp, expert = jnp.where(is_sharp, sharp, degraded), jnp.where(is_sharp, expert, 0)
        batch = sharp[None], mask[None]
        restored = network.apply({"params": select(params, expert)}, *batch)
        return keep_known_pixels(restored, *batch)[0]  # not after the loop, where exporters lose the batch's size

    return lax.map(one, (degraded, mask, chosen))


def select(params: Params, expert: jax.Array | int) -> Params:
    """Returns the parameters of one expert, as those of a network of its own."""
    return params[SHARED] | jax.tree.map(lambda stack: stack[expert], params[EXPERTS])


def plain(config: ConfigDict, expert: int = 0) -> ConfigDict:
    """Returns an experiment's configuration with one of its experts as a network of its own."""
    config = config.copy_and_resolve_references()
    config.model.experts, config.model.deblur = (), config.model.deblur[expert : expert + 1]
    return config


def spread(plain: Params, kinds: int) -> Params:
    """Returns the parameters of a network as those of `kinds` experts that are all like it, without a router's."""
    return _join([plain] * kinds, jnp)


def assemble(networks: Sequence[Params]) -> Params:
    """Returns networks (trees of numpy arrays) as experts in that order, without a router's parameters.

    Raises `UserError` when they differ in what experts share by more than half precision, in which networks ship: one
    may have been trained from the network that shipped, another from its workdir. The first one's is taken.
    """
    shared = [{name: part for name, part in network.items() if not name.startswith(OWN)} for network in networks]
    for number, network in enumerate(networks):
        if jax.tree.map(np.shape, network) != jax.tree.map(np.shape, networks[0]):
            raise UserError(f"expert {number} is of another architecture than the first; give all one config.model")
        if not all(jax.tree.leaves(jax.tree.map(_is_alike, shared[number], shared[0]))):
            raise UserError(
                f"expert {number} differs from the first in what all experts share; train each from the same network, "
                f"with config.optim.modules={OWN}"
            )
    return _join(networks, np)


def _is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one.astype(np.float16), other.astype(np.float16))


def _join(networks: Sequence[Params], library: Any) -> Params:
    own = [name for name in networks[0] if name.startswith(OWN)]

    def stack(*leaves: Any) -> Any:
        return library.stack(leaves)

    experts = {name: jax.tree.map(stack, *(network[name] for network in networks)) for name in own}
    return {SHARED: {name: value for name, value in networks[0].items() if name not in own}, EXPERTS: experts}
