"""How well similarities tell people apart: rates by threshold, ranks, and intervals over people. Host side, numpy.

The protocol is by identity: similarities of pairs of photographs that show one person are genuine, those
of two people impostors. Accepted is what scores strictly above a threshold, as in `evaluation.judges.verification`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from faceflax.evaluation.statistics import Interval


class Pairs(NamedTuple):
    """Compared photographs: whether each pair is genuine [N], the numbers of its two people [N], and its `place` [N].

    The place is the similarity's among the different ones, 0 the highest.
    """

    genuine: np.ndarray
    first: np.ndarray
    second: np.ndarray
    place: np.ndarray


class Curve(NamedTuple):
    """Rates of acceptance at every threshold, from none accepted to all: false and true, [T]; and how many impostors.

    1 - `tar` against `far` is the detection error trade-off (DET).
    """

    far: np.ndarray
    tar: np.ndarray
    impostors: float


def pairs(similarity: np.ndarray, person: np.ndarray, *, once: bool = False) -> Pairs:
    """Returns the pairs of different photographs of a similarity matrix [N, N]; row and column i show `person[i]`.

    With `once` a pair and its mirror image are one, as where rows and columns are the same photographs; without, rows
    and columns may differ (enrolled as they are, looked for damaged), and only a photograph with its own copy is left
    out. People are numbered from 0.
    """
    rows, columns = np.triu_indices(len(person), 1) if once else np.nonzero(~np.eye(len(person), dtype=bool))
    first, second = person[rows], person[columns]
    place = np.unique(-np.asarray(similarity)[rows, columns], return_inverse=True)[1]
    return Pairs(first == second, first, second, place)


def roc(compared: Pairs, times: np.ndarray | None = None) -> Curve:
    """The receiver operating characteristic of `compared`, where person i was drawn `times[i]` times (once each).

    A genuine pair then counts once for each draw of its person, a pair of two people once for each pair of their draws;
    two draws of one person make no impostors.
    """
    weight = np.ones(len(compared.place))
    if times is not None:
        weight = times[compared.first] * np.where(compared.genuine, 1.0, times[compared.second])
    return _curve(compared.genuine, compared.place, weight)


def _curve(is_genuine: np.ndarray, place: np.ndarray, weight: np.ndarray) -> Curve:
    genuine = np.cumsum(np.bincount(place, weight * is_genuine))
    impostor = np.cumsum(np.bincount(place, weight * ~is_genuine))
    if not genuine[-1] or not impostor[-1]:
        return Curve(np.array([np.nan]), np.array([np.nan]), 0.0)
    rate = lambda counts: np.concatenate([[0.0], counts / counts[-1]])  # noqa: E731
    return Curve(rate(impostor), rate(genuine), float(impostor[-1]))


def auc(curve: Curve) -> float:
    """The area under the curve: how often a genuine pair scores above an impostor, ties counting half."""
    return float(np.trapezoid(curve.tar, curve.far)) if curve.impostors else np.nan


def tar_at_far(curve: Curve, far: float) -> float:
    """The share of genuine pairs accepted where at most `far` of the impostors are; NaN where not one may be."""
    if curve.impostors * far < 1 - 1e-9:
        return np.nan
    return float(curve.tar[_last_within(curve, far)])


def _last_within(curve: Curve, far: float) -> int:
    return int(np.searchsorted(curve.far, far + 1e-12, side="right")) - 1


def equal_error_rate(curve: Curve) -> float:
    """Where as many genuine pairs are refused as impostors are accepted, between the two nearest thresholds."""
    if not curve.impostors:
        return np.nan
    difference = (1 - curve.tar) - curve.far  # falls from 1 to -1
    after = int(np.argmax(difference <= 0))
    share = difference[after - 1] / (difference[after - 1] - difference[after])
    return float(curve.far[after - 1] + share * (curve.far[after] - curve.far[after - 1]))


def found_within(similarity: np.ndarray, gallery: np.ndarray, probe: np.ndarray, rank: int = 1) -> np.ndarray:
    """Whether each photograph looked for finds its person among the `rank` most similar people: [P], 1 or 0.

    Args:
      similarity: [G, P] of the enrolled photographs with those looked for.
      gallery: [G] the people enrolled; of one with several photographs the most similar counts.
      probe: [P] the people looked for, all enrolled. Ties count against the person.
      rank: 1 for the nearest alone.
    """
    people = np.unique(gallery)
    best = np.array([similarity[gallery == person].max(0) for person in people])
    own = people[:, None] == probe
    others = np.where(own, -np.inf, best)
    return ((others >= best.T[own.T]).sum(0) < rank).astype(np.float64)


class Searches(NamedTuple):
    """Searches among enrolled people: whether who is sought is enrolled [N], their numbers [N], and each one's `place`.

    The place [N] is that of the best score among `scores`, the different ones, the highest first. Where who is enrolled
    does not come first, it is the last: minus infinity.
    """

    mated: np.ndarray
    person: np.ndarray
    place: np.ndarray
    scores: np.ndarray


def searches(similarity: np.ndarray, person: np.ndarray) -> Searches:
    """Returns the searches of an open set: of every second person the first photograph is enrolled, all others sought.

    Then the same with the other people enrolled, so that everybody is once enrolled and once a stranger. `similarity`
    [N, N] is of the enrolled with the sought, both of `person` [N], numbered from 0. Ties count against the person.
    """
    first, found = np.unique(person, return_index=True)[1], []
    for enrolled in (first[::2], first[1::2]):
        probe = np.setdiff1d(np.arange(len(person)), enrolled)
        scores = similarity[np.ix_(enrolled, probe)]
        own = person[enrolled][:, None] == person[probe]
        own_score, other_score = (np.where(which, scores, -np.inf).max(0) for which in (own, ~own))
        mated = own.any(0)
        best = np.where(mated, np.where(own_score > other_score, own_score, -np.inf), other_score)
        found.append((mated, person[probe], best))
    mated, sought, best = map(np.concatenate, zip(*found, strict=True))
    negative, place = np.unique(-best, return_inverse=True)
    return Searches(mated, sought, place, -negative)


def fnir_at_fpir(made: Searches, fpir: float, times: np.ndarray | None = None) -> tuple[float, float]:
    """The false negative identification rate at a false positive one (ISO/IEC 19795-1), and the threshold.

    At most `fpir` of the searches for people who are not enrolled return a name; the rate is the share of those for
    people who are that do not return theirs. Person i counts `times[i]` times (once each), and who is enrolled stays
    so. Both are NaN where not one search may return a false name. Raises ValueError where `fpir` is not from 0 to
    below 1: where every search may return a name, no score is the threshold.
    """
    if not 0 <= fpir < 1:
        raise ValueError(f"a false positive identification rate is from 0 to below 1, not {fpir}")
    curve = _curve(made.mated, made.place, np.ones(len(made.place)) if times is None else times[made.person])
    rate = tar_at_far(curve, fpir)
    return 1 - rate, np.nan if np.isnan(rate) else float(made.scores[_last_within(curve, fpir)])


def accuracy(found: np.ndarray, probe: np.ndarray, times: np.ndarray) -> float:
    """The share of `found` [P] when person i, who is looked for where `probe` is i, was drawn `times[i]` times."""
    weight = times[probe]
    return float((found * weight).sum() / weight.sum()) if weight.sum() else np.nan


def over_people(
    statistics: Callable[[np.ndarray], np.ndarray],
    people: int,
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> list[Interval]:
    """Returns each of `statistics(ones)` with its percentile bootstrap interval over people (Efron 1979).

    Photographs of one person stand and fall together, so people are drawn, with replacement; `statistics` gets how
    often each of them was drawn, [people], and returns [S]. Draws for which a value is NaN are left out.
    """
    draws = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=resamples)
    values = np.array([statistics(draw.astype(np.float64)) for draw in draws])
    known = ~np.isnan(values).all(0)
    low, high = np.full((2, values.shape[1]), np.nan)
    low[known], high[known] = np.nanquantile(values[:, known], [(1 - level) / 2, (1 + level) / 2], axis=0)
    measured = np.asarray(statistics(np.ones(people)), np.float64)
    return [Interval(*map(float, triple)) for triple in zip(measured, low, high, strict=True)]
