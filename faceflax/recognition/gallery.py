"""A gallery: the vectors of enrolled faces with their records, in a database that finds the nearest ones."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from faceflax.errors import UserError
from faceflax.models.face_encoder import FaceEncoder
from faceflax.recognition import collection as collection_lib
from faceflax.recognition import records as records_lib
from faceflax.recognition.collection import Collection
from faceflax.recognition.records import Record
from faceflax.recognition.store import Store

QUERIES = 250
"""Vectors searched for at once."""

MAX_RESULTS = 16_384
"""Milvus returns no more for one query."""


@dataclasses.dataclass(frozen=True)
class Match:
    """An enrolled record and the cosine of its vector with the query's."""

    record: Record
    score: float


class Gallery:
    """The gallery in an open store. All its vectors are of one version of one encoder.

    Every method raises `UserError` where the store does not answer.
    """

    def __init__(self, store: Store):
        """An embedded gallery whose deletion was interrupted completes it here."""
        self._store = store
        self._collection: Collection | None = collection_lib.find(store)
        if self._collection is not None:
            store.call("load_collection", self._collection.name)

    @property
    def uri(self) -> str:
        """Where it is, as the user wrote it."""
        return self._store.uri

    @property
    def encoder(self) -> str | None:
        """The name of the encoder whose vectors these are; None before the first enrolment."""
        return self._collection and self._collection.encoder

    def check(self, encoder: FaceEncoder) -> None:
        """Raises `UserError` where the vectors are not of this encoder in this version."""
        held = self._collection
        if held is not None and (held.encoder, held.version) != (encoder.name, encoder.version):
            raise UserError(
                f"the gallery {self.uri} holds vectors of {held.encoder} (version {held.version}), which cannot be "
                f"compared with those of {encoder.name} (version {encoder.version}); use the same --encoder, or enrol "
                "into another --gallery"
            )

    def count(self, condition: str = "") -> int:
        """Returns how many records fulfil the condition (see `records.condition`)."""
        return collection_lib.count(self._store, self._collection, condition) if self._collection else 0

    def add(self, encoder: FaceEncoder, records: Sequence[Record], vectors: np.ndarray) -> None:
        """Enrols unit vectors [N, D] of `encoder`; on return they are there to stay, whatever ends the process.

        A record takes the place of one with its id. Raises `UserError` where `check` does.
        """
        self.check(encoder)
        if self._collection is None:
            created = Collection(1, encoder.name, encoder.version)
            collection_lib.create(self._store, created, encoder.size, is_current=True)
            self._collection = created
        rows = [records_lib.to_row(record) for record in records]
        rows = [row | {"vector": vector} for row, vector in zip(rows, vectors.tolist(), strict=True)]
        collection_lib.insert(self._store, self._collection, rows)

    def settle(self) -> None:
        """Call it after many an `add`: brings the index up to date, and to the kind that the size asks for."""
        if self._collection is not None:
            collection_lib.settle(self._store, self._collection)

    @property
    def index(self) -> str | None:
        """Milvus's name of the index: FLAT compares all. None before the first enrolment."""
        return self._collection and collection_lib.index_of(self._store, self._collection).kind

    def search(self, vectors: np.ndarray, k: int, condition: str = "") -> list[list[Match]]:
        """Returns up to `k` nearest records for each of the unit vectors [N, D], the nearest first."""
        if self._collection is None:
            return [[] for _ in vectors]
        params = dict(collection_lib.index_of(self._store, self._collection).search)
        if "ef" in params:
            params["ef"] = max(params["ef"], k)
        found = []
        for start in range(0, len(vectors), QUERIES):
            answers = self._store.call(
                "search",
                self._collection.name,
                data=vectors[start : start + QUERIES].tolist(),
                anns_field="vector",
                limit=min(k, MAX_RESULTS),
                filter=condition,
                output_fields=collection_lib.FIELDS,
                search_params={"metric_type": "COSINE", "params": params},
            )
            found += [
                [Match(records_lib.from_row(row["entity"]), float(row["distance"])) for row in rows] for rows in answers
            ]
        return found

    def search_people(self, vectors: np.ndarray, k: int, condition: str = "") -> list[list[Match]]:
        """As `search`, but the nearest record of each of up to `k` nearest people."""
        limit = min(4 * k, MAX_RESULTS)
        best = [_nearest_of_each(matches)[:k] for matches in self.search(vectors, limit, condition)]
        left = [query for query, people in enumerate(best) if len(people) < k]
        names = self._names(condition, k) if left else None
        if names:  # everybody is wanted, however deep they lie
            one_by_one = [self.search(vectors[left], 1, records_lib.both(condition, [name])) for name in names]
            for query, matches in zip(left, zip(*one_by_one, strict=True), strict=True):
                best[query] = sorted(itertools.chain.from_iterable(matches), key=lambda match: -match.score)
            return best
        while left and limit < MAX_RESULTS:  # further down, where many records of few people come first
            limit = min(4 * limit, MAX_RESULTS)
            for query, matches in zip(left, self.search(vectors[left], limit, condition), strict=True):
                best[query] = _nearest_of_each(matches)[:k]
            left = [query for query in left if len(best[query]) < k]
        return best

    def _names(self, condition: str, most: int) -> set[str] | None:
        """The people of the records that fulfil the condition; None where there are more than `most`."""
        names: set[str] = set()
        for rows in self._pages(condition, ["name"]):
            names |= {row["name"] for row in rows}
            if len(names) > most:
                return None
        return names

    def records(self, condition: str = "") -> Iterator[Record]:
        """Yields the records that fulfil the condition, in no order."""
        for rows in self._pages(condition, collection_lib.FIELDS):
            yield from map(records_lib.from_row, rows)

    def vectors(self, condition: str = "") -> Iterator[tuple[list[Record], np.ndarray]]:
        """As `records`, some thousands at a time, with their unit vectors float32 [n, D]."""
        for rows in self._pages(condition, [*collection_lib.FIELDS, "vector"]):
            yield list(map(records_lib.from_row, rows)), np.array([row["vector"] for row in rows], np.float32)

    def _pages(self, condition: str, fields: list[str]) -> Iterator[list[dict]]:
        if self._collection is not None:
            yield from self._store.pages(self._collection.name, condition, fields)

    def update(self, condition: str, change: Callable[[Record], Record]) -> int:
        """Puts `change(record)`, with the same id, in the place of each record that fulfils the condition.

        Returns how many these were.
        """
        changed = 0
        # The store pages by id, and what is put in the place of a record has its id: none is met twice.
        for records, vectors in self.vectors(condition):
            rows = [records_lib.to_row(change(record)) for record in records]
            rows = [row | {"vector": vector} for row, vector in zip(rows, vectors.tolist(), strict=True)]
            collection_lib.insert(self._store, self._collection, rows)
            changed += len(rows)
        return changed

    def delete(self, condition: str) -> int:
        """Deletes the records that fulfil the condition, for good, and returns how many these were.

        When it returns, no file of an embedded gallery, nor of milvus-lite's server, holds a deleted vector. A Milvus
        server is told to compact, and removes the files by its own garbage collection. Completes a deletion that was
        interrupted, also where nothing fulfils the condition any more.
        """
        found = self.count(condition)
        if found or (self._collection and collection_lib.is_unfinished(self._store, self._collection)):
            self._collection = collection_lib.delete(self._store, self._collection, condition)
        return found


def _nearest_of_each(matches: Sequence[Match]) -> list[Match]:
    """The first match of each person, in the order of `matches`."""
    nearest: dict[str, Match] = {}
    for match in matches:
        nearest.setdefault(match.record.name, match)
    return list(nearest.values())
