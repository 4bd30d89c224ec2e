"""Losses: how far a restored batch is from its target, how a discriminator's judgement counts, how vectors should lie.

Images are [B, H, W, 3]; whatever their dtype, the losses are taken in float32 and are scalars. Two of them compare what
pretrained networks see in the images; the parameters of these are an argument, loaded once by `load_networks`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from faceflax import metrics
from faceflax.errors import UserError
from faceflax.models import perceptual, pretrained
from faceflax.models.discriminator import Logits
from faceflax.models.face_encoder import faceres
from faceflax.models.face_encoder.compact import unit

MS_SSIM_LEAST_SIZE = 2 * metrics.SSIM_WINDOW
"""Pixels; two scales fit from here on."""

IDENTITY_SIZE = 160
"""Pixels; half the cost of faceres' own 224, and its vectors still tell all people of ORL apart (AUC 1.000)."""

# The importance of each scale, finest first (Wang et al., Asilomar 2003, section 4).
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2


def charbonnier(restored: Array, target: Array) -> Array:
    """Mean of sqrt(d^2 + 0.001^2) (Charbonnier et al., ICIP 1994; its epsilon from Lai et al., CVPR 2017)."""
    return jnp.mean(jnp.sqrt(jnp.square(restored - target) + 1e-3**2))


def l1(restored: Array, target: Array) -> Array:
    """Mean absolute difference."""
    return jnp.mean(jnp.abs(restored - target))


def psnr(restored: Array, target: Array) -> Array:
    """Minus the mean PSNR of the images, in bels (tens of dB; Chen et al., HINet, CVPRW 2021, section 3.3).

    An image's gradient is in proportion to its error, whatever its damage: a batch of light and of heavy damage learns
    from both, where a mean of differences learns from the heavy alone. Errors under 50 dB's count little.
    """
    errors = jnp.mean(jnp.square(restored - target), axis=(1, 2, 3))
    return jnp.mean(jnp.log10(errors + 1e-5))


def ssim(restored: Array, target: Array) -> Array:
    """1 - SSIM; raises `UserError` for images under 11 pixels."""
    return 1.0 - jnp.mean(metrics.ssim(restored, target))


def ms_ssim(restored: Array, target: Array) -> Array:
    """1 - MS-SSIM (Wang et al., Asilomar 2003, eq. 7), by channel, mean over RGB.

    Five scales need 176 pixels. Smaller images use as many scales as their smaller side fits the window in (four from
    88 pixels, three from 44, two from 22), with the weights of these divided by their sum. Raises `UserError` for
    images under 22 pixels.
    """
    metrics.require_size(restored, MS_SSIM_LEAST_SIZE, "MS-SSIM")
    smaller_side = min(restored.shape[1:3])
    scales = min(len(_MS_SSIM_WEIGHTS), int(np.log2(smaller_side / metrics.SSIM_WINDOW)) + 1)
    weights = np.array(_MS_SSIM_WEIGHTS[:scales]) / sum(_MS_SSIM_WEIGHTS[:scales])
    similarity = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim_factors(restored, target)
        factor = luminance * contrast if scale == scales - 1 else contrast
        # A negative mean has no real power; the floor keeps the gradient of the power finite.
        similarity *= jnp.maximum(jnp.mean(factor, axis=(1, 2)), 1e-4) ** weight
        restored, target = _halve(restored), _halve(target)
    return 1.0 - jnp.mean(similarity)


def _ssim_factors(a: Array, b: Array) -> tuple[Array, Array]:
    """Maps of SSIM's luminance term, and of its contrast and structure terms together."""
    mean_a, mean_b, square_a, square_b, product = jnp.split(
        metrics.window_mean(jnp.concatenate([a, b, a * a, b * b, a * b], axis=-1)), 5, axis=-1
    )
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    return luminance, (2 * (product - mean_a * mean_b) + _C2) / (variances + _C2)


def _halve(image: Array) -> Array:
    """Averages 2x2 pixels; an odd last row or column is dropped."""
    batch, height, width, channels = image.shape
    image = image[:, : height // 2 * 2, : width // 2 * 2]
    return image.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def fft(restored: Array, target: Array) -> Array:
    """Mean absolute difference of the real and imaginary parts of the images' spectra (Cho et al., ICCV 2021, eq. 6).

    As in that paper the transform is not normalised, so that the loss is larger than `l1` (and its weight smaller: the
    paper's is 0.1); of the spectrum's two mirrored halves one is used.
    """
    spectrum = jnp.fft.rfft2(restored - target, axes=(1, 2))
    return 0.5 * jnp.mean(jnp.abs(spectrum.real) + jnp.abs(spectrum.imag))


def perceptual_distance(restored: Array, target: Array, params: Any) -> Array:
    """Mean of `models.perceptual.distance`, 0 to 2; raises `UserError` for images under 29 pixels."""
    return jnp.mean(perceptual.distance(params, restored, target))


def identity_distance(restored: Array, target: Array, params: Any) -> Array:
    """1 - the cosine of the angle between the faceres vectors of the two images at `IDENTITY_SIZE`, 0 to 1."""
    cosines = jnp.sum(
        faceres.embed(params, restored, IDENTITY_SIZE) * faceres.embed(params, target, IDENTITY_SIZE), axis=-1
    )
    return 1.0 - jnp.mean(cosines)


TERMS: dict[str, Callable[[Array, Array], Array]] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "fft": fft,
}


NETWORK_TERMS: dict[str, Callable[[Array, Array, Any], Array]] = {
    "perceptual": perceptual_distance,
    "identity": identity_distance,
}
_NETWORKS = {"perceptual": perceptual, "identity": faceres}


def load_networks(
    weights: ConfigDict, otherwise: str = "train without this term: --config.loss.{name}=0"
) -> dict[str, Any]:
    """Returns the parameters of the networks that the terms of `weights` (`config.loss`) need, by the term's name.

    Raises `UserError` when one is not in the cache and cannot be fetched; it says `otherwise`, how to go on without.
    """
    return pretrained.load_each({name: _NETWORKS[name].load for name in NETWORK_TERMS if weights[name]}, otherwise)


def reconstruction_loss(
    restored: Array, target: Array, weights: ConfigDict, networks: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Array, dict[str, Array]]:
    """Returns the weighted sum of the terms of `weights` (`config.loss`) that are not 0, and each of them unweighted.

    Terms of weight 0 are not part of the graph. `networks` is what `load_networks` returns for the same weights.
    Raises `UserError` when all are 0.
    """
    restored, target = jnp.asarray(restored, jnp.float32), jnp.asarray(target, jnp.float32)
    terms = {name: term(restored, target) for name, term in TERMS.items() if weights[name]}
    for name, term in NETWORK_TERMS.items():
        if weights[name]:
            terms[name] = term(restored, target, networks[name])
    if not terms:
        raise UserError(f"every weight of config.loss is 0: give one of {', '.join([*TERMS, *NETWORK_TERMS])} a weight")
    return sum(weights[name] * value for name, value in terms.items()), terms


class AdversarialLoss(NamedTuple):
    """Both players' losses; each takes the logits of real images and of their restorations."""

    discriminator: Callable[[Logits, Logits], Array]
    generator: Callable[[Logits, Logits], Array]


def adversarial_loss(name: str) -> AdversarialLoss:
    """Returns the adversarial loss of that name.

    The loss of the images' logits and that of the pixels' count by half each (Schönfeld et al., CVPR 2020, eq. 3).
    Raises `UserError` when there is none of that name.
    """
    if name not in ADVERSARIAL:
        raise UserError(f'config.gan.loss "{name}" does not exist; choose one of {", ".join(ADVERSARIAL)}')
    return AdversarialLoss(*(_of_image_and_pixels(function) for function in ADVERSARIAL[name]))


def _of_image_and_pixels(function: Callable[[Array, Array], Array]) -> Callable[[Logits, Logits], Array]:
    return lambda real, fake: (function(real.image, fake.image) + function(real.pixel, fake.pixel)) / 2


# By name: the discriminator's loss and the generator's, of real and fake logits of one shape.
ADVERSARIAL: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
    "hinge": (  # Lim & Ye, "Geometric GAN", 2017
        lambda real, fake: jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)),
        lambda real, fake: -jnp.mean(fake),
    ),
    "non_saturating": (  # Goodfellow et al., NeurIPS 2014, section 3
        lambda real, fake: jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)),
        lambda real, fake: jnp.mean(jax.nn.softplus(-fake)),
    ),
    "relativistic": (  # Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024, eq. 2: pairs are compared
        lambda real, fake: jnp.mean(jax.nn.softplus(fake - real)),
        lambda real, fake: jnp.mean(jax.nn.softplus(real - fake)),
    ),
}


def distillation_loss(predicted: Array, target: Array) -> Array:
    """Mean of 1 - the cosine between vectors [B, D] and the teacher's unit vectors [B, D]."""
    return 1.0 - jnp.mean(jnp.sum(unit(predicted) * target, axis=-1))


def relational_loss(vectors: Array, target: Array) -> Array:
    """Mean squared difference between the cosines of all pairs of a batch and the teacher's (Park et al., CVPR 2019).

    `vectors` [B, D] are of unit length, and so are `target` [B, E], the teacher's of the same images. Pairs of an image
    with itself are left out. At least two images.
    """
    count = len(vectors)
    difference = vectors @ vectors.T - target @ target.T
    return jnp.sum(jnp.square(difference) * (1.0 - jnp.eye(count))) / (count * (count - 1))


def margin_loss(cosines: Array, label: Array, *, num_classes: int, margin: float, scale: float) -> tuple[Array, Array]:
    """Returns ArcFace's mean loss (Deng et al., CVPR 2019, equation 3), and how often the own class is nearest.

    Args:
      cosines: [B, K] between vectors and class weights; columns from `num_classes` on are padding and count for none.
      label: int [B], below `num_classes`.
      num_classes: people.
      margin: radians added to the angle of the own class. Beyond pi, where the cosine would rise again, the cosine is
        lowered by margin * sin(margin) instead, as in the authors' code.
      scale: of the logits.
    """
    column = jnp.arange(cosines.shape[1])
    own = column == label[:, None]
    cosines = jnp.clip(cosines, -1.0 + 1e-6, 1.0 - 1e-6)
    # Only the own class's angle is needed: a sum over one column, which also works where columns lie on many devices.
    cosine = jnp.sum(jnp.where(own, cosines, 0.0), axis=1)
    turned = jnp.cos(jnp.arccos(cosine) + margin)
    turned = jnp.where(cosine > -jnp.cos(margin), turned, cosine - margin * jnp.sin(margin))
    logits = jnp.where(column < num_classes, scale * jnp.where(own, turned[:, None], cosines), -jnp.inf)
    others = jnp.where(own | (column >= num_classes), -jnp.inf, cosines)
    loss = jnp.mean(jax.nn.logsumexp(logits, axis=1) - scale * turned)
    return loss, jnp.mean((cosine > others.max(1)).astype(jnp.float32))
