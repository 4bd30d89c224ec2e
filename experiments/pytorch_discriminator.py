"""The discriminator in PyTorch, operation for operation, with parameters and vectors from the Flax trees."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from ml_collections import ConfigDict
from torch import nn

from experiments.pytorch_twin import channels_first, conv1x1, conv3x3, down, load_arrays

_STEM_SIDE, _GAIN, _EPSILON = 2, 2.0, 1e-12  # as ours

Logits = tuple[torch.Tensor, torch.Tensor]  # of the images, of their pixels
Weights = dict[str, torch.Tensor]


class UNetDiscriminator(nn.Module):
    """`faceflax.models.discriminator.UNetDiscriminator` over NCHW images, conditional.

    `vectors` are those of the power iteration, by the names of the weights that they belong to.
    """

    def __init__(self, gan: ConfigDict):
        super().__init__()
        widths = [gan.width * 2**scale for scale in range(gan.scales + 1)]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.stem = nn.Conv2d(7 * _STEM_SIDE**2, gan.width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(fine, 2 * fine, 2, stride=2) for fine, _ in pairs)
        self.encoder = nn.ModuleList(nn.Conv2d(coarse, coarse, 3, padding=1) for _, coarse in pairs)
        self.image = nn.Conv2d(widths[-1], 1, 1)
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(nn.Conv2d(fine, fine, 3, padding=1) for fine, _ in pairs)
        self.pixel = nn.Conv2d(gan.width, _STEM_SIDE**2, 1)
        self.vectors: dict[str, torch.Tensor] = {}

    def normalize(self) -> tuple[Weights, dict[str, torch.Tensor]]:
        """Returns all parameters, kernels but the heads' normalised, and the vectors for the next time.

        Kernels [O, I, H, W] are seen as matrices of O rows; one step of the power iteration, as
        `faceflax.models.spectral`.
        """
        weights, following = dict(self.named_parameters()), {}
        for name, vector in self.vectors.items():
            matrix = weights[name].flatten(1)
            fixed = matrix.detach()
            left = F.normalize(vector @ fixed, dim=0, eps=_EPSILON)
            right = F.normalize(fixed @ left, dim=0, eps=_EPSILON)
            weights[name] = _GAIN * weights[name] / (right @ matrix @ left + _EPSILON)
            following[name] = right
        return weights, following

    def judge(self, weights: Weights, images: torch.Tensor, degraded: torch.Tensor, mask: torch.Tensor) -> Logits:
        """Returns the logits of `images` [B, 3, H, W], [B, 1, 1, 1], and those of their pixels, [B, 1, H, W]."""
        return torch.func.functional_call(self, weights, torch.cat([images - 0.5, degraded - 0.5, mask], 1))

    def forward(self, inputs: torch.Tensor) -> Logits:
        """As `judge`, of images and what they are judged by as channels."""
        hidden = _leaky(self.stem(F.pixel_unshuffle(inputs, _STEM_SIDE)))
        skips = []
        for to_coarse, encoder in zip(self.down, self.encoder, strict=True):
            skips.append(hidden)
            hidden = _leaky(encoder(to_coarse(hidden)))
        image = self.image(hidden.mean((2, 3), keepdim=True))
        for to_fine, decoder in zip(reversed(self.up), reversed(self.decoder), strict=True):
            hidden = _leaky(decoder(skips.pop() + F.pixel_shuffle(to_fine(hidden), 2)))
        return image, F.pixel_shuffle(self.pixel(hidden), _STEM_SIDE)


def _leaky(hidden: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(hidden, 0.2, inplace=True)


def load_flax(twin: UNetDiscriminator, params: Mapping[str, Any], vectors: Mapping[str, np.ndarray]) -> None:
    """Copies the Flax discriminator's `params` and `vectors` into its `twin`, to which nothing else may belong."""
    state = conv3x3("stem", params["stem"], order_in=_STEM_SIDE) | conv1x1("image", params["image"])
    state |= conv1x1("pixel", params["pixel"], _STEM_SIDE)
    for scale, _ in enumerate(twin.down):
        state |= down(f"down.{scale}", params[f"down{scale}"])
        state |= conv3x3(f"encoder.{scale}", params[f"encoder{scale}"])
        state |= conv1x1(f"up.{scale}", params[f"up{scale}"], 2)
        state |= conv3x3(f"decoder.{scale}", params[f"decoder{scale}"])
    load_arrays(twin, state)
    twin.vectors = dict(_vector(path, vector) for path, vector in vectors.items())


def _vector(path: str, vector: np.ndarray) -> tuple[str, torch.Tensor]:
    """The name of a kernel's twin, and its vector in the order of the twin's outputs."""
    layer = path.removesuffix("/kernel")
    name = layer.rstrip("0123456789")
    values = channels_first(vector, 2 if name == "up" else 1)
    return ".".join(filter(None, (name, layer.removeprefix(name), "weight"))), torch.from_numpy(values.copy())
