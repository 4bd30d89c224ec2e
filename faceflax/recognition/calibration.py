"""From which score on two faces are taken for one person: the threshold at a rate of false acceptance.

A rate is only as good as the faces that it was measured on: the same threshold lets more pass among people who resemble
each other more, or on worse photographs.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faceflax.errors import UserError
from faceflax.files import write_json

if TYPE_CHECKING:
    from faceflax.models.face_encoder import FaceEncoder

_BLOCK = 1024  # photographs whose pairs are compared at once
RATE = 1e-3
"""The rate of false acceptance at which thresholds are taken by default."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A threshold for the vectors of one version of one encoder.

    Attributes:
      encoder: its name.
      version: of the encoder.
      threshold: cosines above it are taken for the same person.
      false_accept_rate: share of the pairs of different people above it, where it was measured.
      different: number of these pairs.
      true_accept_rate: share of the pairs of one person above it; None where there were none.
      same: number of these pairs.
      measured_on: in words.
    """

    encoder: str
    version: str
    threshold: float
    false_accept_rate: float
    different: int
    true_accept_rate: float | None
    same: int
    measured_on: str

    @property
    def passing(self) -> str:
        """How many pairs pass where it was measured, in words."""
        false_accepts = round(self.false_accept_rate * self.different)
        said = f"{false_accepts:,} of {self.different:,} pairs of different people pass"
        if self.true_accept_rate is None:
            return f"{said}, and there was no pair of one person"
        return f"{said}, {round(self.true_accept_rate * self.same):,} of {self.same:,} pairs of one person"


DEFAULTS = (
    Calibration(
        encoder="faceres",
        version="39f27fa6",
        threshold=0.6645,
        false_accept_rate=0.009996,
        different=124750,
        true_accept_rate=0.9656,
        same=900,
        measured_on="synthetic faces whole (different people), ORL s1-s20 found (one person)",
    ),
    Calibration(
        encoder="compact",
        version="c4720ead",
        threshold=0.6164,
        false_accept_rate=0.005474,
        different=19000,
        true_accept_rate=0.7056,
        same=900,
        measured_on="ORL s21-s40 found (different people), ORL s1-s20 found (one person)",
    ),
)
"""Made by `python -m experiments.thresholds`."""


def check_rate(rate: float) -> None:
    """Raises `UserError` unless `rate` is a share of pairs."""
    if not 0 < rate < 1:
        raise UserError(f"a false-accept rate of {rate:g} is no share; choose one between 0 and 1, such as 0.001")


def threshold_at(different: np.ndarray, rate: float) -> float:
    """Returns the smallest of the scores of different people such that at most the share `rate` lies above it.

    Raises `UserError` as `check_rate`, and where there are too few pairs to tell this rate from none.
    """
    check_rate(rate)
    allowed = int(rate * len(different) + 1e-9)  # 0.01 * 100 must not come to 0.99...
    if not allowed:
        raise UserError(
            f"a false-accept rate of {rate:g} needs {int(np.ceil(1 / rate)):,} pairs of different people, and there "
            f"are {len(different):,}; add people or choose a larger --far"
        )
    return float(np.partition(different, -allowed - 1)[-allowed - 1])


def pair_scores(vectors: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cosines of all pairs of unit vectors [N, D] of one person, and of all pairs of different people."""
    same, different = [np.zeros(0)], [np.zeros(0)]
    exact = vectors.astype(np.float64)
    for start in range(0, len(exact), _BLOCK):  # never all pairs at once, twice over
        rows = np.arange(start, min(start + _BLOCK, len(exact)))
        scores = exact[rows] @ exact[start:].T
        is_pair = rows[:, None] < np.arange(start, len(exact))
        is_same = people[rows][:, None] == people[start:]
        same.append(scores[is_pair & is_same])
        different.append(scores[is_pair & ~is_same])
    return np.concatenate(same), np.concatenate(different)


def calibrate(
    encoder: "FaceEncoder", vectors: np.ndarray, people: np.ndarray, rate: float, measured_on: str
) -> Calibration:
    """Returns the threshold at `rate` on unit vectors [N, D] of `people` [N]; raises `UserError` as `threshold_at`."""
    same, different = pair_scores(vectors, people)
    threshold = threshold_at(different, rate)
    return Calibration(
        encoder=encoder.name,
        version=encoder.version,
        threshold=threshold,
        false_accept_rate=float(np.mean(different > threshold)),
        different=len(different),
        true_accept_rate=float(np.mean(same > threshold)) if len(same) else None,
        same=len(same),
        measured_on=measured_on,
    )


@dataclasses.dataclass(frozen=True)
class GroupRates:
    """What a threshold does within one group of people: counts of pairs, and of those that pass."""

    group: str
    people: int
    different: int
    false_accepts: int
    same: int
    true_accepts: int


def by_group(vectors: np.ndarray, people: np.ndarray, groups: Mapping[str, str], threshold: float) -> list[GroupRates]:
    """Returns the rates among the people of each group, in the order of their names.

    Unit vectors [N, D] of `people` [N]; who has no group is left out. Pairs of two groups are not counted: a recogniser
    mistakes people who resemble each other, and these are mostly of one group.
    """
    labels = np.array([groups.get(person, "") for person in people])
    found = []
    for group in sorted(set(labels) - {""}):
        own = labels == group
        same, different = pair_scores(vectors[own], people[own])
        false_accepts, true_accepts = (int(np.sum(scores > threshold)) for scores in (different, same))
        found.append(GroupRates(group, len(set(people[own])), len(different), false_accepts, len(same), true_accepts))
    return found


def _is_possible(found: Calibration) -> bool:
    """Whether each field is of its kind, and each figure one that can be measured."""
    rates = [found.false_accept_rate, *([] if found.true_accept_rate is None else [found.true_accept_rate])]
    return (
        all(isinstance(text, str) for text in (found.encoder, found.version, found.measured_on))
        and all(type(figure) in (int, float) for figure in (found.threshold, *rates))
        and all(type(count) is int and count >= 0 for count in (found.different, found.same))
        and -1 <= found.threshold <= 1  # which is not so of NaN
        and all(0 <= rate <= 1 for rate in rates)
    )


def save(path: Path, calibration: Calibration) -> None:
    """Writes the calibration as JSON, whole or not at all."""
    write_json(path, dataclasses.asdict(calibration))


def load(path: Path | None, encoder: "FaceEncoder") -> Calibration:
    """Returns the calibration in a file, or the one that comes with the encoder.

    Raises `UserError` where there is none, the file holds none, or it is that of another version.
    """
    if path is None:
        found = [each for each in DEFAULTS if (each.encoder, each.version) == (encoder.name, encoder.version)]
        if not found:
            raise UserError(
                f"no threshold comes with {encoder.name} (version {encoder.version}); measure one with faceflax "
                "calibrate, and pass it with --calibration"
            )
        return found[0]
    try:
        calibration = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        if not _is_possible(calibration):
            raise ValueError(calibration)
    except OSError as error:
        raise UserError(f"--calibration {path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"--calibration {path}: is no result of faceflax calibrate; make it anew") from error
    if (calibration.encoder, calibration.version) != (encoder.name, encoder.version):
        raise UserError(
            f"--calibration {path} is for {calibration.encoder} (version {calibration.version}), and the vectors are "
            f"of {encoder.name} (version {encoder.version}); run faceflax calibrate with --encoder {encoder.name}"
        )
    return calibration
