"""What shows early that an adversarial training goes wrong: who wins, and whether the images still differ."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax import Array

from faceflax import metrics
from faceflax.models.discriminator import Logits
from faceflax.training.state import Metrics

NAMES = ("accuracy_real", "accuracy_fake", "accuracy_pairs", "diversity", "sharpness")
"""What is told of a training when it has ended."""

_EPSILON = 1e-6
_THUMBNAIL = 8  # pixels of side


def balance(real: Logits, fake: Logits) -> dict[str, Array]:
    """Returns how the discriminator does on a batch.

    `accuracy_real` and `accuracy_fake`, the shares of images that it judges right: both near 1 for long, and the
    generator learns nothing; both near 0.5, and the discriminator has nothing left to say. Of a relativistic loss,
    which knows no zero, `accuracy_pairs` alone tells: the share of pairs in which the real image has the higher logit.
    `logit_real` and `logit_fake` are the mean logits.
    """
    right = {"real": real.image > 0, "fake": fake.image < 0, "pairs": real.image > fake.image}
    shares = {f"accuracy_{name}": jnp.mean(values, dtype=jnp.float32) for name, values in right.items()}
    return shares | {"logit_real": real.image.mean(), "logit_fake": fake.image.mean()}


def collapse(restored: Array, clean: Array, mask: Array) -> Metrics:
    """Returns what of the targets' variety is left in the restored images, as sums whose quotients are the shares.

    Images are [B, H, W, 3]; where `mask` [B, H, W, 1] shows that an image has a hole, its hole alone counts.
    `diversity`: standard deviation over the batch of 8x8 thumbnails. Near 0 the generator makes one face for all.
    `sharpness`: difference of neighbouring pixels. Under 1 the images are blurred, far above 1 they are noise.
    """
    weight = jnp.where(metrics.has_pixels(mask)[:, None, None, None] > 0, mask, 1.0)
    return {
        "diversity": (_spread(restored, weight), _spread(clean, weight)),
        "sharpness": (_roughness(restored, weight), _roughness(clean, weight)),
    }


def course(lines: Sequence[Mapping[str, float]], last: int) -> list[dict[str, float]]:
    """Returns how a training of `last` steps went: `step` and `NAMES` at its start, each quarter and its end.

    `lines` are those of `metrics.jsonl` that have the monitors; the nearest are taken, each once.
    """
    lines = [line for line in lines if line["step"] <= last]
    nearest = {}
    for part in range(5 if lines else 0):
        line = min(lines, key=lambda line: abs(line["step"] - part * last / 4))
        nearest[line["step"]] = {"step": line["step"]} | {name: line[f"train/{name}"] for name in NAMES}
    return list(nearest.values())


def _spread(images: Array, weight: Array) -> Array:
    weights = _thumbnails(weight)
    thumbnails = _thumbnails(images * weight) / (weights + _EPSILON)
    counts = weights.sum(0) + _EPSILON
    mean = (weights * thumbnails).sum(0) / counts
    return jnp.sqrt((weights * jnp.square(thumbnails - mean)).sum(0) / counts).sum()


def _thumbnails(images: Array) -> Array:
    batch, height, width, channels = images.shape
    rows, columns = height // _THUMBNAIL, width // _THUMBNAIL
    images = images[:, : rows * _THUMBNAIL, : columns * _THUMBNAIL]
    return images.reshape(batch, _THUMBNAIL, rows, _THUMBNAIL, columns, channels).mean((2, 4))


def _roughness(images: Array, weight: Array) -> Array:
    down = jnp.abs(jnp.diff(images, axis=1)) * weight[:, 1:]
    right = jnp.abs(jnp.diff(images, axis=2)) * weight[:, :, 1:]
    return down.sum() + right.sum()
