"""From styles to a face."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceflax.errors import UserError
from faceflax.models import convolutions
from faceflax.models.face_prior import heads
from faceflax.models.face_prior.network import (
    LEVELS,
    NUM_STYLES,
    Params,
    activate,
    inverse_haar,
    modulate,
    separable,
)

SIDE = 16 * 2 ** (LEVELS - 1)
"""Pixels; the side of the largest faces."""

SIZES = (*heads.SIZES, SIDE // 2, SIDE)
"""Pixels; the sides that faces can be made at."""

Spatial = Mapping[int, tuple[jax.Array, jax.Array]]


def synthesise(
    params: Params,
    styles: jax.Array,
    size: int = SIDE,
    spatial: Spatial | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
) -> jax.Array:
    """Returns faces float32 [B, S, S, 3], RGB in about [-1, 1], not clipped, aligned as FFHQ aligns them.

    At 1024 pixels it is the published network. At 512 it is the mean of 2x2 of those pixels, exactly, as that is what
    the network's last wavelet is given. At 64, 128 and 256 `heads` say what the levels not computed would have added,
    nearly as well and much sooner.

    Args:
      params: of `face_prior.load`.
      styles: one style for a whole face, [B, 512], or one for each of its 23 layers, [B, 23, 512] (W+).
      size: of `SIZES`.
      spatial: what another network has to say at some resolutions R of 8, 16, ... up to `size` and 512: (scale, shift),
        both [B, R, R, C], with which the features after the first convolution of that resolution become
        features (1 + scale) + shift, as in GFPGAN (Wang et al., CVPR 2021, eq. 3). `channels(R)` is their number.
      dtype: of the activations.
      remat: keep each level's input alone for the backward pass, and compute the level again there.

    Raises:
      UserError: `size` is none of `SIZES`.
    """
    _check_size(size)
    if styles.ndim == 2:
        styles = jnp.broadcast_to(styles[:, None], (styles.shape[0], NUM_STYLES, styles.shape[-1]))
    hidden = features(params, styles, _last_level(size), spatial, dtype, remat)
    if size in heads.SIZES:
        return heads.apply(params, hidden, styles, size, remat)
    hidden = modulate(params, "image", hidden, styles[:, -1]).astype(jnp.float32)
    if size == SIDE:
        return inverse_haar(convolutions.conv1x1(hidden, params["image/kernel"]) + params["image/bias"])
    return (convolutions.conv1x1(hidden, params["image/kernel"][:, :3]) + params["image/bias"][:3]) / 2


def needed(params: Params, size: int) -> Params:
    """Returns those of `params` that `synthesise` reads at `size`, and the mean style; raises `UserError` as it does.

    Of the levels that a head leaves out it reads what their styles do.
    """
    _check_size(size)
    last = _last_level(size)
    prefixes = ["mean", "input", "first/", *(f"level{number}/" for number in range(last + 1))]
    if size in heads.SIZES:
        layers = [f"level{number}/{name}" for number in range(last + 1, LEVELS) for name in ("up", "conv1", "conv2")]
        prefixes += [f"head{size}/", *(f"{layer}/style/" for layer in (*layers, "image"))]
    else:
        prefixes.append("image/")
    return {name: values for name, values in params.items() if name.startswith(tuple(prefixes))}


def channels(params: Params, resolution: int) -> int:
    """Returns the number of features after the first convolution at 8, 16, ... 512 pixels."""
    return params[f"level{(resolution // 8).bit_length() - 1}/conv1/bias"].size


def _check_size(size: int) -> None:
    if size not in SIZES:
        raise UserError(f"the face prior makes faces of {', '.join(map(str, SIZES))} pixels, not {size}")


def _last_level(size: int) -> int:
    return heads.level_of(size) if size in heads.SIZES else LEVELS - 1


def features(
    params: Params,
    styles: jax.Array,
    level: int,
    spatial: Spatial | None = None,
    dtype: Any = jnp.float32,
    remat: bool = False,
) -> jax.Array:
    """Returns what level `level` gives to the next: `dtype` [B, S, S, C] with S = 8 * 2^level.

    `styles` is [B, 23, 512]; the rest as in `synthesise`.
    """
    constant = jnp.broadcast_to(params["input"].astype(dtype), (styles.shape[0], *params["input"].shape))
    hidden = modulate(params, "first", constant, styles[:, 0])
    hidden = activate(params, "first", convolutions.conv3x3(hidden, params["first/kernel"].astype(dtype)))
    go_through = jax.checkpoint(_level, static_argnums=1) if remat else _level
    for number in range(level + 1):
        told = (spatial or {}).get(8 * 2**number)
        hidden = go_through(params, number, hidden, styles[:, 1 + 3 * number : 4 + 3 * number], told)
    return hidden


def _level(
    params: Params, number: int, hidden: jax.Array, styles: jax.Array, told: tuple[jax.Array, jax.Array] | None
) -> jax.Array:
    """One level: twice the side, then two convolutions. `styles` are the three of the level, `told` its spatial."""
    name = f"level{number}"
    hidden = inverse_haar(modulate(params, f"{name}/up", hidden, styles[:, 0]))
    hidden = _convolve(params, f"{name}/conv1", hidden, styles[:, 1])
    if told:
        scale, shift = (each.astype(hidden.dtype) for each in told)
        hidden = hidden * (1 + scale) + shift
    return _convolve(params, f"{name}/conv2", hidden, styles[:, 2])


def _convolve(params: Params, layer: str, hidden: jax.Array, style: jax.Array) -> jax.Array:
    hidden = modulate(params, layer, hidden, style)
    return activate(params, layer, separable(hidden, params[f"{layer}/depthwise"], params[f"{layer}/kernel"]))
