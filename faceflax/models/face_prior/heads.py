"""Faces at 64, 128 and 256 pixels without computing the finer levels.

The network says what colour a pixel has at its last level alone. A head goes through the levels left out at the
resolution it has: it starts as what these levels do to the mean of their pixels, which their depthwise kernels tell in
closed form but for the activations, and is then fitted to the downsampled faces of the whole network. The styles that
those levels would have heeded are heeded.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from faceflax.models import convolutions, weights
from faceflax.models.face_prior.network import LEVELS, Params, activate, modulate, separable, style_of

SIZES = (64, 128, 256)
"""Pixels; where there are heads."""

FILE = Path(__file__).parent / "heads.safetensors"
"""The fitted heads, as `experiments.fit_heads` wrote them."""

_BANDS = 4


def load() -> Params:
    """Returns the fitted parameters, 0.35 million, in host memory."""
    return traverse_util.flatten_dict(weights.read(FILE).params, sep="/")


def level_of(size: int) -> int:
    """Returns the level whose features the head of `size` reads."""
    return (size // 8).bit_length() - 1


def apply(params: Params, hidden: jax.Array, styles: jax.Array, size: int, remat: bool = False) -> jax.Array:
    """Returns faces float32 [B, S, S, 3] as `synthesise`, from the features [B, S, S, C] of `level_of(size)`.

    In the features' dtype; `remat` as in `synthesise`.
    """
    go_through = jax.checkpoint(_level, static_argnums=(1, 2)) if remat else _level
    for number in range(level_of(size) + 1, LEVELS):
        hidden = go_through(params, size, number, hidden, styles[:, 1 + 3 * number : 4 + 3 * number])
    hidden = modulate(params, "image", hidden, styles[:, -1]).astype(jnp.float32)
    return convolutions.conv1x1(hidden, params[f"head{size}/image/kernel"]) + params[f"head{size}/image/bias"]


def _level(params: Params, size: int, number: int, hidden: jax.Array, styles: jax.Array) -> jax.Array:
    """What the head of `size` has in the place of a level; `styles` are the three of that level."""
    name, ours = f"level{number}", f"head{size}/level{number}"
    hidden = modulate(params, f"{name}/up", hidden, styles[:, 0])
    fine = style_of(params, f"{name}/conv1", styles[:, 1]).astype(hidden.dtype)
    hidden = hidden * jnp.tile(fine / 2, _BANDS)
    for layer in ("conv1", "conv2"):
        if layer == "conv2":
            hidden = modulate(params, f"{name}/{layer}", hidden, styles[:, 2])
        hidden = separable(hidden, params[f"{ours}/{layer}/depthwise"], params[f"{ours}/{layer}/kernel"])
        hidden = activate(params, f"{ours}/{layer}", hidden)
    return hidden


def noise(params: Params) -> dict[str, np.ndarray]:
    """Returns the noise of the heads' layers, the means of blocks of the whole network's; it is not fitted.

    Made once and not in `apply`, where XLA would take the means anew for every channel.
    """
    found = {}
    for size in SIZES:
        for number in range(level_of(size) + 1, LEVELS):
            for layer in ("conv1", "conv2"):
                fine = np.asarray(params[f"level{number}/{layer}/noise"])
                factor = len(fine) // size
                means = fine.reshape(size, factor, size, factor, 1).mean((1, 3))
                found[f"head{size}/level{number}/{layer}/noise"] = means
    return found


def initial(params: Params, size: int) -> dict[str, np.ndarray]:
    """Returns the head of `size` before it is fitted, from the parameters of the whole network."""
    head = {}
    for number in range(level_of(size) + 1, LEVELS):
        octaves = number - level_of(size)
        for layer in ("conv1", "conv2"):
            theirs, ours = f"level{number}/{layer}", f"head{size}/level{number}/{layer}"
            kernel, depthwise = np.asarray(params[f"{theirs}/kernel"]), np.asarray(params[f"{theirs}/depthwise"])
            if layer == "conv1":
                kernel, depthwise = np.tile(kernel, (_BANDS, 1)), _on_bands(depthwise)
            for _ in range(octaves - 1 if layer == "conv1" else octaves):
                depthwise = _coarser(depthwise, _MEAN, _MEAN)
            head |= {f"{ours}/depthwise": depthwise, f"{ours}/kernel": kernel}
            head[f"{ours}/bias"] = np.asarray(params[f"{theirs}/bias"])
    head[f"head{size}/image/kernel"] = np.asarray(params["image/kernel"])[:, :3] / 2
    head[f"head{size}/image/bias"] = np.asarray(params["image/bias"])[:3] / 2
    return head


# What a 3-tap kernel (rows: its taps) does on average to the two pixels that a mean, or a detail, stands for, as a
# 3-tap kernel on means, or details, of pairs.
_MEAN = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]], np.float32)
_DETAIL = np.array([[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, -0.5, 0.5]], np.float32)


def _on_bands(depthwise: np.ndarray) -> np.ndarray:
    """Kernels [3, 3, C] at twice the resolution as kernels [3, 3, 4C] on wavelet bands."""
    pairs = ((_MEAN, _MEAN), (_DETAIL, _MEAN), (_MEAN, _DETAIL), (_DETAIL, _DETAIL))
    return np.concatenate([_coarser(depthwise, *pair) for pair in pairs], axis=-1)


def _coarser(depthwise: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.einsum("yxc,yv,xu->vuc", depthwise, rows, columns)
