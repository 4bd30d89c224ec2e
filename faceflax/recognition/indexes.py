"""Which index a gallery of a size gets: none below a threshold, so that its search is exact."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Index:
    """A kind of index of Milvus, its parameters when it is built, and those of a search."""

    kind: str
    build: Mapping[str, int]
    search: Mapping[str, int]


EXACT_BELOW = 200_000
"""Vectors. Below it all are compared: on two cores that costs less than to build a graph, and build it anew at every
deletion. See docs/recognition.md."""

EXACT = Index("FLAT", {}, {})
GRAPH = Index("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 256})
"""Malkov and Yashunin 2018. Of the ten nearest of 20,000 vectors without structure this `ef` finds 0.96."""


def choose(count: int) -> Index:
    """Returns the index for `count` vectors."""
    return EXACT if count < EXACT_BELOW else GRAPH


def of_kind(kind: str) -> Index:
    """Returns the index that Milvus calls `kind`; one of another maker's choice is searched by its defaults."""
    return next((index for index in (EXACT, GRAPH) if index.kind == kind), Index(kind, {}, {}))
