"""What shows early that an adversarial training goes wrong: who wins, and whether the images still differ."""

import jax.numpy as jnp
from jax import Array

from faceflax.models.discriminator import Logits

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


def collapse(restored: Array, clean: Array) -> dict[str, Array]:
    """Returns what of the targets' variety is left in the restored images, [B, H, W, 3] both, as shares.

    `diversity`: standard deviation over the batch of 8x8 thumbnails. Near 0 the generator makes one face for all.
    `sharpness`: mean difference of neighbouring pixels. Under 1 the images are blurred, far above 1 they are noise.
    """
    return {
        "diversity": (_spread(restored) + _EPSILON) / (_spread(clean) + _EPSILON),
        "sharpness": (_roughness(restored) + _EPSILON) / (_roughness(clean) + _EPSILON),
    }


def _spread(images: Array) -> Array:
    batch, height, width, channels = images.shape
    rows, columns = height // _THUMBNAIL, width // _THUMBNAIL
    images = images[:, : rows * _THUMBNAIL, : columns * _THUMBNAIL]
    thumbnails = images.reshape(batch, _THUMBNAIL, rows, _THUMBNAIL, columns, channels).mean((2, 4))
    return jnp.sqrt(thumbnails.var(0).mean())


def _roughness(images: Array) -> Array:
    return sum(jnp.abs(jnp.diff(images, axis=axis)).mean() for axis in (1, 2)) / 2
