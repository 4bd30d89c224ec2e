"""What an evaluation measured, image by image."""

import dataclasses
import functools

import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.statistics import Interval, bootstrap

METHODS = ("input", "baseline", "model")
METRICS = ("psnr", "ssim", "hole_psnr", "known_psnr")


@dataclasses.dataclass(frozen=True)
class Example:
    """One face for the eye: uint8 RGB [S, S, 3] pictures and the PSNR (dB) of each method's."""

    index: int  # of the image in the split
    clean: np.ndarray
    pictures: dict[str, np.ndarray]  # by method
    psnr: dict[str, float]  # by method


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """All images of the split under one degradation at one severity.

    Attributes:
      task: the degradation.
      baseline: name of the classical method.
      index: [N] numbers of the images in the split, ascending.
      scores: by method and metric, float64 [N]: `psnr` (dB), `ssim`, and of images with a hole `hole_psnr` and
        `known_psnr` (inside and outside of it); NaN where a metric is not defined.
      failures: how many of the model's N results held values that are not finite; such pixels are scored as black.
      examples: the first images of the split.
    """

    task: Task
    baseline: str
    index: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]
    failures: int
    examples: list[Example]

    @property
    def has_holes(self) -> bool:
        """Whether any image has missing pixels."""
        return bool(np.isfinite(self.scores["input"]["hole_psnr"]).any())

    def gain(self, metric: str, over: str) -> np.ndarray:
        """The model's score minus that of the method `over`, image by image: [N]."""
        return self.scores["model"][metric] - self.scores[over][metric]

    def gain_interval(self, metric: str, over: str) -> Interval:
        """The mean gain over the method `over` and its 95% bootstrap interval, computed at the first call alone."""
        if (metric, over) not in self._intervals:
            self._intervals[metric, over] = bootstrap(self.gain(metric, over))
        return self._intervals[metric, over]

    @functools.cached_property
    def _intervals(self) -> dict[tuple[str, str], Interval]:
        return {}
