"""Examples with one more feature each, that was computed for all of them before training."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Described:
    """The examples of `source`, each with its row of `values` as the feature `name`."""

    source: Sequence
    name: str
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.source[index], self.name: self.values[index]}
