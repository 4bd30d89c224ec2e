"""How far the restored images as a set lie from the originals as a set: the kernel inception distance (KID).

The distance is that of Binkowski et al., "Demystifying MMD GANs", ICLR 2018: the squared maximum mean discrepancy of
features under the kernel k(x, y) = (x.y / D + 1)^3. With MobileNetV2's features in place of Inception's its figures
are not to be compared with published ones. Host side, numpy.
"""

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


def kid_gain(
    real: np.ndarray, fake: np.ndarray, over: np.ndarray, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Returns `kid(real, fake) - kid(real, over)` and its bootstrap interval; below 0 means that `fake` is closer.

    All are [N, D], and row i of each belongs to image i. Images are drawn with replacement, the same ones of all three
    sets: the paired percentile bootstrap. Pairs of an image with its own copy are left out, since their terms are of
    another kind (a copy's distance to itself). The result is a function of the arguments alone; all NaN for less than
    two images.
    """
    differences = _discrepancies(real, fake) - _discrepancies(real, over)
    count = len(differences)
    if count < 2:
        return Interval(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    pairs = count**2 - np.square(times).sum(1)
    means = np.einsum("ri,ri->r", times @ differences, times)[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(_mean_over_pairs(differences), float(low), float(high))


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
