"""How sure a mean over images is: the percentile bootstrap (Efron, Annals of Statistics 1979)."""

from typing import NamedTuple

import numpy as np

_CHUNK = 2**22  # resampled images held at once


class Interval(NamedTuple):
    """A mean and the interval that holds it with the chosen confidence; all NaN when there was nothing to average."""

    mean: float
    low: float
    high: float


def bootstrap(values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Returns the mean of `values` [N] and its percentile bootstrap interval.

    For a comparison give differences, image by image: that is the paired bootstrap, in which whatever makes an image
    hard for both methods cancels. NaN marks images for which the value is not defined, which are left out. The result
    is a function of the arguments alone.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _CHUNK // len(values))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        means[start : start + count] = values[rng.integers(len(values), size=(count, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))
