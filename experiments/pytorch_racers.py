"""PyTorch's side of the race in `compare_pytorch`, in its best eager form: channels_last memory, fused optimizers."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from ml_collections import ConfigDict
from torch import nn

from experiments import pytorch_discriminator, pytorch_twin
from faceflax.errors import UserError

_EPSILON = 1e-3  # of the Charbonnier loss

Losses = list[float]


class Restorer:
    """What the racers share: the generator's twin and a batch."""

    def __init__(self, config: ConfigDict, parameters: Mapping[str, Any]):
        torch.set_num_threads(os.cpu_count())
        self.model = pytorch_twin.EncoderDecoder(config.model).to(memory_format=torch.channels_last)
        pytorch_twin.load_flax(self.model, parameters["generator"])

    def load(self, batch: dict[str, np.ndarray]) -> None:
        """Lays the batch out as PyTorch likes it best."""
        images = (torch.from_numpy(batch[name]).permute(0, 3, 1, 2) for name in ("degraded", "mask", "target"))
        self.batch = [image.contiguous(memory_format=torch.channels_last) for image in images]

    def restore(self) -> np.ndarray:
        """Returns the restored batch."""
        with torch.inference_mode():
            return self.model(*self.batch[:2]).permute(0, 2, 3, 1).numpy()


class Cnn(Restorer):
    """The CNN's step."""

    def __init__(self, config: ConfigDict, parameters: Mapping[str, Any]):
        super().__init__(config, parameters)
        self._optimizer = _adamw(self.model, config.optim)
        self._clip_norm = config.optim.clip_norm

    def train(self) -> Losses:
        """Makes one step; returns its loss."""
        degraded, mask, target = self.batch
        self._optimizer.zero_grad(set_to_none=True)
        loss = _charbonnier(self.model(degraded, mask), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm, foreach=True)
        self._optimizer.step()
        return [loss.item()]


class Gan(Restorer):
    """The GAN's step: one pass of the generator, judged once, the judgement followed back to either network."""

    def __init__(self, config: ConfigDict, parameters: Mapping[str, Any]):
        super().__init__(config, parameters)
        _check(config)
        self._config = config
        self.discriminator = pytorch_discriminator.UNetDiscriminator(config.gan)
        self.discriminator.to(memory_format=torch.channels_last)
        pytorch_discriminator.load_flax(self.discriminator, parameters["discriminator"], parameters["vectors"])
        self._optimizer, opponent = _adamw(self.model, config.optim), config.gan
        self._for_discriminator = torch.optim.Adam(
            self.discriminator.parameters(),
            opponent.lr_ratio * config.optim.lr,
            (opponent.b1, opponent.b2),
            eps=opponent.eps,
            fused=True,
        )
        self._average = [value.detach().clone() for value in self.model.parameters()]
        self._steps = 0

    def train(self) -> Losses:
        """Makes one step; returns the generator's and the discriminator's loss."""
        degraded, mask, target = self.batch
        self._optimizer.zero_grad(set_to_none=True)
        restored = self.model(degraded, mask)
        seen = restored.detach().requires_grad_()
        weights, vectors = self.discriminator.normalize()
        real, fake = (self.discriminator.judge(weights, images, degraded, mask) for images in (target, seen))
        opponent_loss = _halves(lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), real, fake)
        adversarial_loss = _halves(lambda _, f: -f.mean(), real, fake)
        opponents = list(self.discriminator.parameters())
        opponent_grads = torch.autograd.grad(opponent_loss, opponents, retain_graph=True)
        (by_opponent,) = torch.autograd.grad(adversarial_loss, seen)
        reconstruction, weight = _charbonnier(restored, target), self._config.gan.weight
        torch.autograd.backward((reconstruction, restored), (None, weight * by_opponent))
        self._update(opponents, opponent_grads)
        self.discriminator.vectors = vectors
        return [(reconstruction + weight * adversarial_loss).item(), opponent_loss.item()]

    def _update(self, opponents: list[nn.Parameter], opponent_grads: tuple[torch.Tensor, ...]) -> None:
        optim = self._config.optim
        for parameter, gradient in zip(opponents, opponent_grads, strict=True):
            parameter.grad = gradient
        self._for_discriminator.step()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip_norm, foreach=True)
        self._optimizer.step()
        self._steps += 1
        decay = min(optim.ema_decay, self._steps / (self._steps + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, list(self.model.parameters()), 1 - decay)


def _check(config: ConfigDict) -> None:
    gan, terms = config.gan, {name for name, weight in config.loss.items() if weight}
    is_known = gan.loss == "hinge" and not (gan.augment or gan.r1 or gan.r2 or gan.adaptive or gan.start)
    if not is_known or terms != {"charbonnier"} or config.loss.charbonnier != 1 or not gan.conditional:
        raise UserError("the PyTorch twin of the GAN knows the hinge loss, without augmentation, penalties or terms")


def _charbonnier(restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((restored - target).square() + _EPSILON**2).sqrt().mean()


def _halves(loss, real: pytorch_discriminator.Logits, fake: pytorch_discriminator.Logits) -> torch.Tensor:
    """The loss of the images' logits and that of the pixels', by half each."""
    return sum(loss(*pair) for pair in zip(real, fake, strict=True)) / 2


def _adamw(model: nn.Module, optim: ConfigDict) -> torch.optim.AdamW:
    """As `optimizer.create`: kernels decay, biases do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, optim.lr, (optim.b1, optim.b2), eps=optim.eps, fused=True)
