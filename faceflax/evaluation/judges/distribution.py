"""How far the restored images as a set lie from the originals as a set: the kernel inception distance (KID).

The distance is that of Binkowski et al., "Demystifying MMD GANs", ICLR 2018: the squared maximum mean discrepancy of
features under the kernel k(x, y) = (x.y / D + 1)^3. With MobileNetV2's features in place of Inception's its figures
are not to be compared with published ones. Host side, numpy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceflax.evaluation.statistics import Interval


def kid(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns the squared maximum mean discrepancy of two sets of features [N, D]; `fake[i]` was made of `real[i]`.

    The estimate is the U-statistic of all pairs of different images (Gretton et al., JMLR 2012, equation 4),

        mean over i != j of k(r_i, r_j) + k(f_i, f_j) - k(r_i, f_j) - k(f_i, r_j).

    It is without bias although an image and its restoration depend on each other, which the two-sample estimate, with
    k(r_i, f_i) among its terms, would not be: a faithful method's would come out too small. Hence it can be less than
    0, is exactly 0 for equal sets, and is taken over the full sets at once, not over subsets. NaN for less than two
    images. Raises `ValueError` when the sets' shapes differ.
    """
    return _mean_over_pairs(_discrepancies(real, fake))


class Gain(NamedTuple):
    """A difference of two KIDs, and the same of each bootstrap draw of the images [R]; all NaN where there is none."""

    mean: float
    draws: np.ndarray


def kid_gain(real: np.ndarray, fake: np.ndarray, over: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Gain:
    """Returns `kid(real, fake) - kid(real, over)` with its bootstrap; below 0 means that `fake` is closer.

    All are [N, D], and row i of each belongs to image i. Images are drawn with replacement, the same ones of all three
    sets: the paired bootstrap. Pairs of an image with its own copy are left out, since their terms are of another kind
    (a copy's distance to itself). The result is a function of the arguments alone, and equal numbers of images have
    equal draws. All NaN for less than two images.
    """
    differences = _discrepancies(real, fake) - _discrepancies(real, over)
    count = len(differences)
    if count < 2:
        return Gain(np.nan, np.full(resamples, np.nan))
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    pairs = count**2 - np.square(times).sum(1)
    sums = np.einsum("ri,ri->r", times @ differences, times)
    draws = np.divide(sums, pairs, out=np.full(resamples, np.nan), where=pairs > 0)  # a draw of one image has no pairs
    return Gain(_mean_over_pairs(differences), draws)


def mean_interval(gains: Sequence[Gain], *, level: float = 0.95) -> Interval:
    """Returns the mean of gains of the same images (under several tasks, by several seeds) and its percentile interval.

    A gain is linear in the terms of its pairs. So the mean of the gains of one draw is the gain of the mean terms under
    that draw, and images, not tasks or seeds, are what is drawn.
    """
    draws = np.mean([gain.draws for gain in gains], axis=0)
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2]) if np.isfinite(draws).any() else [np.nan] * 2
    return Interval(float(np.mean([gain.mean for gain in gains])), float(low), float(high))


def _discrepancies(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The terms [N, N] of `kid` for each pair of images, with zeros on the diagonal."""
    if real.shape != fake.shape:
        raise ValueError(f"features of {real.shape} and {fake.shape} are not those of the same images")
    across = _kernel(real, fake)
    terms = _kernel(real, real) + _kernel(fake, fake) - across - across.T
    np.fill_diagonal(terms, 0)
    return terms


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.asarray(x, np.float64) @ np.asarray(y, np.float64).T / x.shape[1] + 1) ** 3


def _mean_over_pairs(terms: np.ndarray) -> float:
    count = len(terms)
    return float(terms.sum() / (count * (count - 1))) if count > 1 else np.nan
