"""How the loss falls with compute, parameters and images: power laws, and how sure they are.

The loss is the geometric mean of the squared error over validation images and tasks, 10^(-PSNR/10).
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.special
from scipy.optimize import least_squares

MIN_SIZES = 3
"""Of networks: with fewer, nothing tells what size does from what nothing does."""
MIN_SEEDS = 2
"""Of each size: with one, an interval would tell of the choice of sizes and not of chance."""
MIN_POINTS = 3
"""Of each training, and of the frontier."""

_RESAMPLES = 200
_LOG_ZERO = -30.0  # the logarithm of a term that is as good as none
_HUBER = 1e-2  # of a difference of logarithms, from where on it counts by its size and not its square


@dataclasses.dataclass(frozen=True)
class Point:
    """A network at one moment of its training.

    Attributes:
      run: the training's name.
      parameters: of the network.
      images: seen since the training began, each time that one was counted.
      flops: the network's, for all these images.
      loss: at that moment.
    """

    run: str
    parameters: int
    images: int
    flops: float
    loss: float


@dataclasses.dataclass(frozen=True)
class Law:
    """Fitted numbers by name, each with the 95% interval of a bootstrap over trainings.

    A resample that holds too few sizes to fit a law to is drawn again.
    """

    numbers: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    error: float  # root mean squared, of the logarithm of the loss


def frontier(points: Sequence[Point]) -> list[Point]:
    """Returns the points that no point of equal or less compute is better than, by compute."""
    best, kept = np.inf, []
    for point in sorted(points, key=lambda point: (point.flops, point.loss)):
        if point.loss < best:
            best = point.loss
            kept.append(point)
    return kept


def of_compute(points: Sequence[Point]) -> Law | None:
    """Fits loss = scale x compute^-exponent to the frontier of `points`; compute in PFLOP (10^15 operations).

    None where the points are too few to tell, see `_is_enough`, or the frontier has fewer than `MIN_POINTS`.
    """
    return _law(
        points,
        lambda chosen, start: _fit_compute(chosen),
        lambda numbers, point: numbers["scale"] * (point.flops / 1e15) ** -numbers["exponent"],
        frontier,
    )


def _fit_compute(points: Sequence[Point]) -> dict[str, float]:
    compute = np.log([point.flops / 1e15 for point in points])
    slope, offset = np.polyfit(compute, np.log([point.loss for point in points]), 1)
    return {"scale": float(np.exp(offset)), "exponent": float(-slope)}


def of_size_and_images(points: Sequence[Point]) -> Law | None:
    """Fits loss = floor + a x parameters^-alpha + b x images^-beta (Hoffmann et al., arXiv:2203.15556, approach 3).

    Parameters in millions, images in thousands. By the Huber loss of the logarithm, as there. None as of `of_compute`.
    """
    return _law(points, _fit_both, _both, list)


def _both(numbers: dict[str, float], point: Point) -> float:
    by_size = numbers["a"] * (point.parameters / 1e6) ** -numbers["alpha"]
    return numbers["floor"] + by_size + numbers["b"] * (point.images / 1e3) ** -numbers["beta"]


def _fit_both(points: Sequence[Point], start: dict[str, float] | None) -> dict[str, float]:
    """The best of several starts, or from `start` alone, which is close: each takes as long as all of a resample."""
    size = np.log([point.parameters / 1e6 for point in points])
    images = np.log([point.images / 1e3 for point in points])
    loss = np.log([point.loss for point in points])

    def terms(x: np.ndarray) -> np.ndarray:
        floor, a, alpha, b, beta = x
        return np.stack([np.full_like(loss, floor), a - alpha * size, b - beta * images])

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduce(terms(x), axis=0) - loss

    def slopes(x: np.ndarray) -> np.ndarray:
        floor, by_size, by_images = scipy.special.softmax(terms(x), axis=0)
        return np.stack([floor, by_size, -by_size * size, by_images, -by_images * images], axis=1)

    bounds = ([_LOG_ZERO, _LOG_ZERO, 0, _LOG_ZERO, 0], [np.inf, np.inf, 3, np.inf, 3])
    starts = [_unknowns(start)] if start else _starts(loss.min())
    fits = [least_squares(residuals, x, slopes, bounds=bounds, loss="huber", f_scale=_HUBER) for x in starts]
    floor, a, alpha, b, beta = min(fits, key=lambda fit: fit.cost).x
    return {"floor": np.exp(floor), "a": np.exp(a), "alpha": alpha, "b": np.exp(b), "beta": beta}


def _starts(least: float) -> list[tuple[float, ...]]:
    return [
        (least - 1, least - spread, alpha, least - 1, beta)
        for spread in (1, 3)
        for alpha in (0.1, 0.5)
        for beta in (0.2, 0.6)
    ]


def _unknowns(numbers: dict[str, float]) -> tuple[float, ...]:
    floor, a, b = (max(np.log(numbers[name]), _LOG_ZERO) for name in ("floor", "a", "b"))
    return floor, a, numbers["alpha"], b, numbers["beta"]


def _is_enough(points: Sequence[Point]) -> bool:
    """Whether there are `MIN_SIZES` sizes, each trained `MIN_SEEDS` times, and `MIN_POINTS` of each training."""
    runs = Counter(point.run for point in points)
    sizes = Counter(size for _, size in {(point.run, point.parameters) for point in points})
    return len(sizes) >= MIN_SIZES and min(sizes.values()) >= MIN_SEEDS and min(runs.values(), default=0) >= MIN_POINTS


def _law(
    points: Sequence[Point],
    fit: Callable[[Sequence[Point], dict[str, float] | None], dict[str, float]],
    value: Callable[[dict[str, float], Point], float],
    select: Callable[[Sequence[Point]], Sequence[Point]],
) -> Law | None:
    chosen = select(points)
    if not _is_enough(points) or len(chosen) < MIN_POINTS:
        return None
    numbers = fit(chosen, None)
    found = [fit(sample, numbers) for sample in _resamples(points, select)]
    bounds = {name: np.quantile([each[name] for each in found], [0.025, 0.975]) for name in numbers}
    error = np.sqrt(np.mean([np.log(value(numbers, point) / point.loss) ** 2 for point in chosen]))
    low, high = ({name: float(bound[end]) for name, bound in bounds.items()} for end in (0, 1))
    return Law({name: float(number) for name, number in numbers.items()}, low, high, float(error))


def _resamples(
    points: Sequence[Point], select: Callable[[Sequence[Point]], Sequence[Point]]
) -> Iterator[Sequence[Point]]:
    """Yields what `select` leaves of trainings drawn with replacement, of enough sizes and with enough points."""
    by_run = {run: [point for point in points if point.run == run] for run in sorted({point.run for point in points})}
    rng, names, left = np.random.default_rng(0), list(by_run), _RESAMPLES
    while left:
        drawn = [point for run in rng.choice(names, len(names)) for point in by_run[run]]
        sample = select(drawn)
        if len({point.parameters for point in drawn}) >= MIN_SIZES and len({p.flops for p in sample}) > 1:
            left -= 1
            yield sample
