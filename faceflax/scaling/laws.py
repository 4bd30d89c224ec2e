"""How the loss falls with compute, parameters and images: power laws, and how sure they are.

The loss is the geometric mean of the squared error over validation images and tasks, 10^(-PSNR/10).
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import least_squares

_RESAMPLES = 200
_HUBER = 1e-2  # of a difference of logarithms, from where on it counts by its size and not its square


@dataclasses.dataclass(frozen=True)
class Point:
    """A network at one moment of its training.

    Attributes:
      run: the training's name.
      parameters: of the network.
      images: seen since the training began, each time that one was counted.
      flops: of all steps up to then.
      loss: at that moment.
      is_whole: whether it was trained on all of the data; only then it is a point of a law.
    """

    run: str
    parameters: int
    images: int
    flops: float
    loss: float
    is_whole: bool = True


@dataclasses.dataclass(frozen=True)
class Law:
    """Fitted numbers by name, each with the 95% interval of a bootstrap over trainings."""

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


def of_compute(points: Sequence[Point]) -> Law:
    """Fits loss = scale x compute^-exponent to the frontier of `points`; compute in PFLOP (10^15 operations)."""
    return _law(
        points,
        _fit_compute,
        lambda numbers, point: numbers["scale"] * (point.flops / 1e15) ** -numbers["exponent"],
        frontier,
    )


def _fit_compute(points: Sequence[Point]) -> dict[str, float]:
    compute = np.log([point.flops / 1e15 for point in points])
    slope, offset = np.polyfit(compute, np.log([point.loss for point in points]), 1)
    return {"scale": float(np.exp(offset)), "exponent": float(-slope)}


def of_size_and_images(points: Sequence[Point]) -> Law:
    """Fits loss = floor + a x parameters^-alpha + b x images^-beta (Hoffmann et al., arXiv:2203.15556, approach 3).

    Parameters in millions, images in thousands. By the Huber loss of the logarithm, as there.
    """
    return _law(points, _fit_both, _both, list)


def _both(numbers: dict[str, float], point: Point) -> float:
    by_size = numbers["a"] * (point.parameters / 1e6) ** -numbers["alpha"]
    return numbers["floor"] + by_size + numbers["b"] * (point.images / 1e3) ** -numbers["beta"]


def _fit_both(points: Sequence[Point]) -> dict[str, float]:
    size = np.log([point.parameters / 1e6 for point in points])
    images = np.log([point.images / 1e3 for point in points])
    loss = np.log([point.loss for point in points])

    def residuals(x: np.ndarray) -> np.ndarray:
        floor, a, alpha, b, beta = x
        terms = np.stack([np.full_like(loss, floor), a - alpha * size, b - beta * images])
        return np.logaddexp.reduce(terms, axis=0) - loss

    least = loss.min()
    starts = [
        (least - 1, least - spread, alpha, least - 1, beta)
        for spread in (1, 3)
        for alpha in (0.1, 0.5)
        for beta in (0.2, 0.6)
    ]
    bounds = ([-np.inf, -np.inf, 0, -np.inf, 0], [np.inf, np.inf, 3, np.inf, 3])
    fits = [least_squares(residuals, start, bounds=bounds, loss="huber", f_scale=_HUBER) for start in starts]
    floor, a, alpha, b, beta = min(fits, key=lambda fit: fit.cost).x
    return {"floor": np.exp(floor), "a": np.exp(a), "alpha": alpha, "b": np.exp(b), "beta": beta}


def _law(
    points: Sequence[Point],
    fit: Callable[[Sequence[Point]], dict[str, float]],
    value: Callable[[dict[str, float], Point], float],
    select: Callable[[Sequence[Point]], Sequence[Point]],
) -> Law:
    chosen = select(points)
    numbers = fit(chosen)
    runs = sorted({point.run for point in points})
    rng, found = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        drawn = rng.choice(runs, len(runs))
        sample = select([point for run in drawn for point in points if point.run == run])
        if len({point.flops for point in sample}) > 1:
            found.append(fit(sample))
    bounds = {name: np.quantile([each[name] for each in found], [0.025, 0.975]) for name in numbers}
    error = np.sqrt(np.mean([np.log(value(numbers, point) / point.loss) ** 2 for point in chosen]))
    low, high = ({name: float(bound[end]) for name, bound in bounds.items()} for end in (0, 1))
    return Law({name: float(number) for name, number in numbers.items()}, low, high, float(error))
