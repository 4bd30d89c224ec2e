"""One vector for several photographs of a person: the mean of their unit vectors, made a unit vector again."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from faceflax.recognition.records import Record


def merge(
    old: tuple[Record, np.ndarray] | None, photographs: Sequence[tuple[Record, np.ndarray]]
) -> tuple[Record, np.ndarray]:
    """Returns a person's average [D] over the `old` average's photographs and new ones, and its record.

    The result is the same in whatever order and company photographs come; one that is in the average already is passed
    over. Notes and metadata are those of the newest photograph.
    """
    newest = photographs[-1][0]
    sources = list(old[0].sources) if old else []
    total = old[1] * old[0].length * len(sources) if old else np.zeros_like(photographs[0][1])
    for record, vector in photographs:
        if record.sources[0] not in sources:
            sources += record.sources
            total = total + vector
    if old and len(sources) == len(old[0].sources):
        return dataclasses.replace(old[0], **_notes(newest)), old[1]
    length = float(np.linalg.norm(total))
    record = dataclasses.replace(newest, sources=tuple(sources), length=length / len(sources), is_average=True)
    return record, (total / length).astype(np.float32)


def _notes(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("consent", "purpose", "metadata", "time")}
