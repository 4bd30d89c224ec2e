"""The encoder-decoder of residual blocks in PyTorch, operation for operation, with parameters from the Flax tree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from ml_collections import ConfigDict
from torch import nn

from faceflax.errors import UserError


class ResidualBlock(nn.Module):
    """`faceflax.models.blocks.ResidualBlock`."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns what the block makes of `images` [B, C, H, W]."""
        return images + self.conv1(F.relu(self.conv0(images), inplace=True))


class EncoderDecoder(nn.Module):
    """`faceflax.models.encoder_decoder.EncoderDecoder` over NCHW images, smooth fill included.

    Raises `UserError` for other blocks, and other fills.
    """

    def __init__(self, model: ConfigDict):
        super().__init__()
        if model.block != "residual":
            raise UserError(f'the PyTorch twin has residual blocks only, not "{model.block}"')
        if model.fill != "smooth":
            raise UserError(f'the PyTorch twin fills holes smoothly, not as config.model.fill = "{model.fill}"')
        self.patch = model.patch
        widths = [model.width * 2**scale for scale in range(len(model.encoder_blocks) + 1)]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.stem = nn.Conv2d(4 * model.patch**2, model.width, 3, padding=1)
        self.encoder = nn.ModuleList(map(_blocks, widths[:-1], model.encoder_blocks))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = _blocks(widths[-1], model.middle_blocks)
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in reversed(pairs))
        self.decoder = nn.ModuleList(map(_blocks, widths[-2::-1], model.decoder_blocks))
        self.head = nn.Conv2d(model.width, 3 * model.patch**2, 3, padding=1)

    def forward(self, degraded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Restores `degraded` [B, 3, H, W] in [0, 1] under `mask` [B, 1, H, W]; gives [B, 3, H, W]."""
        filled = fill_holes(degraded, mask)
        inputs = torch.cat([filled - 0.5, mask], 1)
        hidden = self.stem(F.pixel_unshuffle(inputs, self.patch))
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            hidden = blocks(hidden)
            skips.append(hidden)
            hidden = down(hidden)
        hidden = self.middle(hidden)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            hidden = blocks(skips.pop() + F.pixel_shuffle(up(hidden), 2))
        restored = filled + F.pixel_shuffle(self.head(hidden), self.patch)
        has_hole = mask.amax((1, 2, 3), keepdim=True) > 0
        return torch.where(has_hole, mask * restored + (1 - mask) * degraded, restored)


def fill_holes(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`faceflax.models.inpainting.fill_holes` of `images` [B, C, H, W] and `mask` [B, 1, H, W]."""
    known = 1 - mask
    levels = [(images * known, known)]
    while all(side % 2 == 0 for side in levels[-1][0].shape[2:]):
        colours, confidence = (4 * F.avg_pool2d(level, 2) for level in levels[-1])
        limit = confidence.clamp(max=1) / confidence.clamp(min=1e-6)
        levels.append((colours * limit, confidence * limit))
    colours, confidence = (level.sum((2, 3), keepdim=True) for level in levels[-1])
    filled = colours / confidence.clamp(min=1e-6)
    for colours, confidence in reversed(levels):
        filled = F.interpolate(filled, colours.shape[2:], mode="bilinear", align_corners=False)
        filled = colours + (1 - confidence) * filled
    return filled


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def load_flax(twin: EncoderDecoder, params: Mapping[str, Any]) -> None:
    """Copies the Flax model's `params` into its `twin`, to which nothing else may belong."""
    state = conv3x3("stem", params["stem"], order_in=twin.patch) | conv3x3("head", params["head"], twin.patch)
    for scale, _ in enumerate(twin.down):
        state |= down(f"down.{scale}", params[f"down{scale}"])
        state |= conv1x1(f"up.{len(twin.up) - 1 - scale}", params[f"up{scale}"], 2)
        state |= _residual_blocks(f"encoder.{scale}", params, f"encoder{scale}_")
        state |= _residual_blocks(f"decoder.{len(twin.up) - 1 - scale}", params, f"decoder{scale}_")
    state |= _residual_blocks("middle", params, "middle_")
    load_arrays(twin, state)


def load_arrays(twin: nn.Module, state: Mapping[str, np.ndarray]) -> None:
    """Copies arrays into `twin`, by the names of its parameters: all of them."""
    twin.load_state_dict({name: torch.from_numpy(np.array(value, order="C")) for name, value in state.items()})


def _residual_blocks(name: str, params: Mapping[str, Any], prefix: str) -> dict[str, np.ndarray]:
    state = {}
    for key in (key for key in params if key.startswith(prefix)):
        index = key.removeprefix(prefix)
        for conv in (0, 1):
            state |= conv3x3(f"{name}.{index}.conv{conv}", params[key][f"Conv3x3_{conv}"])
    return state


def conv3x3(name: str, layer: Mapping[str, Any], order_out: int = 1, order_in: int = 1) -> dict[str, np.ndarray]:
    """Weight and bias of a `Conv3x3`; `order_*`: sides of the squares of pixels among its channels."""
    kernel = channels_first(np.asarray(layer["kernel"]), order_out)
    kernel = channels_first(kernel.swapaxes(2, 3), order_in).swapaxes(2, 3)
    return {f"{name}.weight": kernel.transpose(3, 2, 0, 1), f"{name}.bias": channels_first(layer["bias"], order_out)}


def down(name: str, layer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Weight and bias of a `Conv1x1` over squares of 2x2 pixels, as a convolution of stride 2."""
    inputs, outputs = layer["kernel"].shape
    kernel = np.asarray(layer["kernel"]).reshape(2, 2, inputs // 4, outputs)
    return {f"{name}.weight": kernel.transpose(3, 2, 0, 1), f"{name}.bias": layer["bias"]}


def conv1x1(name: str, layer: Mapping[str, Any], order_out: int = 1) -> dict[str, np.ndarray]:
    """As `conv3x3`, of a `Conv1x1`."""
    kernel = channels_first(layer["kernel"], order_out).T[:, :, None, None]
    return {f"{name}.weight": kernel, f"{name}.bias": channels_first(layer["bias"], order_out)}


def channels_first(values: np.ndarray, side: int) -> np.ndarray:
    """Reorders the last axis, of squares of pixels, from (row, column, channel) to PyTorch's (channel, row, column)."""
    values = np.asarray(values)
    split = values.reshape(*values.shape[:-1], side * side, -1)
    return split.swapaxes(-1, -2).reshape(values.shape)
