"""A restorer with the face prior inside: a U-Net says which face, and the prior makes it.

As GFP-GAN does (Wang et al., CVPR 2021): what the U-Net knows of the whole image becomes the styles (W+), what it knows
of each place scales and shifts the prior's features there. Its parameters are those of the U-Net, `steering`, and the
prior's own, `prior`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from faceflax.errors import UserError
from faceflax.models import face_prior
from faceflax.models.face_prior import synthesis
from faceflax.models.face_prior.network import DIMENSION, LEVELS, NUM_STYLES, Params, leaky_relu
from faceflax.models.layers import Conv1x1
from faceflax.models.unet import UNet

PRIOR = "prior"
"""The name of the prior's own parameters among those of the restorer."""

CELLS = 4
"""Of a side: the places that are still told apart when an image's styles are told. The coarsest scale has as many."""

_RESOLUTIONS = tuple(8 * 2**level for level in range(LEVELS))  # of the prior's features, which can be steered there


class Steering(NamedTuple):
    """What the prior is told of a batch.

    `offsets` [B, 23, 512] of the styles from the mean style; `spatial` as `synthesis.synthesise` takes it.
    """

    offsets: jax.Array
    spatial: dict[int, tuple[jax.Array, jax.Array]]


class Restored(NamedTuple):
    """Faces [B, S, S, 3], as `models.Model.apply` returns them, and the styles [B, 23, 512] that they were made of."""

    images: jax.Array
    styles: jax.Array


class SteeringNetwork(UNet):
    """Looks at damaged faces; see `__call__`. `channels(R)` is how many features the prior has at R pixels."""

    channels: Callable[[int], int] = None

    @nn.compact
    def __call__(self, filled: jax.Array, mask: jax.Array) -> Steering:
        """Returns what steers the prior towards the faces `filled` [B, S, S, 3] in [0, 1], whose holes are `mask`.

        All of it is zero until it was trained: the untrained restorer makes the prior's mean face.
        """
        found = self.describe(jnp.concatenate([filled - 0.5, mask], -1))
        spatial = {}
        for hidden in found:
            resolution = hidden.shape[1]
            if resolution in _RESOLUTIONS:
                layer = Conv1x1(2 * self.channels(resolution), nn.initializers.zeros, name=f"spatial{resolution}")
                scale, shift = jnp.split(layer(hidden.astype(jnp.float32)), 2, axis=-1)
                spatial[resolution] = scale, shift
        return Steering(self._styles(found[0].astype(jnp.float32)), spatial)

    def _styles(self, hidden: jax.Array) -> jax.Array:
        """The styles' offsets: one for the whole face, and what each layer has besides."""
        batch, side, _, width = hidden.shape
        cells = hidden.reshape(batch, CELLS, side // CELLS, CELLS, side // CELLS, width).mean((2, 4))
        hidden = leaky_relu(nn.Dense(DIMENSION, name="face")(cells.reshape(batch, -1)))
        whole = nn.Dense(DIMENSION, kernel_init=nn.initializers.zeros, name="style")(hidden)
        layers = nn.Dense(NUM_STYLES * DIMENSION, kernel_init=nn.initializers.zeros, name="styles")(hidden)
        return whole[:, None] + layers.reshape(batch, NUM_STYLES, DIMENSION)


def init(network: Callable[..., SteeringNetwork], key: jax.Array, size: int) -> dict[str, Any]:
    """Returns new parameters, with the published ones of the prior.

    `network` makes the U-Net of a `channels`. Raises `UserError` for a size that the prior has no way to, and when it
    cannot be fetched.
    """
    published = load_prior(size)
    steering = network(channels=lambda resolution: synthesis.channels(prior_of(published), resolution))
    shape = (1, size, size)
    params = steering.init(key, jnp.zeros((*shape, 3)), jnp.zeros((*shape, 1)))["params"]
    return {"steering": params, **jax.tree.map(jnp.asarray, published)}


def load_prior(size: int) -> dict[str, Any]:
    """Returns the published prior, as far as faces of `size` pixels need it, as a part of a restorer's parameters.

    Numpy arrays; raises as `init`.
    """
    return {PRIOR: traverse_util.unflatten_dict(synthesis.needed(face_prior.load(), size), sep="/")}


def restore(network: Callable[..., SteeringNetwork], params: Any, images: jax.Array, mask: jax.Array) -> Restored:
    """Returns restored faces, known pixels too; takes images whose holes are filled, and where they were.

    As `models.Model.apply` otherwise, at the size that the parameters were made for; raises `UserError` at others.
    """
    prior, (size, width) = prior_of(params), images.shape[1:3]
    steering = network(channels=lambda resolution: synthesis.channels(prior, resolution))
    if size != width or f"spatial{size // steering.patch}" not in params["steering"]:
        raise UserError(f"this model restores faces of the size that it was trained at, not of {size}x{width} pixels")
    offsets, spatial = steering.apply({"params": params["steering"]}, images, mask)
    styles = prior["mean"] + offsets
    made = synthesis.synthesise(prior, styles, size, spatial, steering.dtype, steering.remat)
    return Restored(made / 2 + 0.5, styles)


def prior_of(params: Any) -> Params:
    """Returns the prior's parameters by name, as `synthesis` takes them, of those of a restorer."""
    return traverse_util.flatten_dict(params[PRIOR], sep="/")
