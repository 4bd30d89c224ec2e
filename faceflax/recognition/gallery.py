"""A gallery: the vectors of enrolled faces with their records, in a database that finds the nearest ones."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from faceflax.errors import UserError
from faceflax.recognition import collection as collection_lib
from faceflax.recognition import indexes, scan
from faceflax.recognition import records as records_lib
from faceflax.recognition import turn as turn_lib
from faceflax.recognition.collection import Collection
from faceflax.recognition.owners import Owners
from faceflax.recognition.records import Record
from faceflax.recognition.scan import Near
from faceflax.recognition.store import Store
from faceflax.recognition.turn import Turn

if TYPE_CHECKING:
    from faceflax.models.face_encoder import FaceEncoder

_Answer = TypeVar("_Answer")

QUERIES = 250
"""Vectors searched for at once."""

MAX_RESULTS = 16_384
"""Milvus returns no more for one query."""

DEEPEST = 4096
"""Records that are asked for to find so many people among them, before all are looked at."""

MAX_ROWS = 100_000
"""Of one answer to several queries: it must come before its deadline, and fit into a message."""


@dataclasses.dataclass(frozen=True)
class Match:
    """An enrolled record and the cosine of its vector with the query's."""

    record: Record
    score: float


class Gallery:
    """The gallery in an open store. All its vectors are of one version of one encoder.

    Every method raises `UserError` where the store does not answer.
    """

    def __init__(self, store: Store, say: Callable[[str], None] = lambda sentence: None):
        """An embedded gallery whose deletion was interrupted completes it here; `say` is told of longer waits."""
        self._store, self._say = store, say
        self._turn: Turn | None = None
        self._collection: Collection | None = None
        self._marked: Collection | None = None
        self._owners = Owners()
        if store.is_embedded:
            with self.writing():
                pass
        else:
            self._find()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Within it nobody else writes to the gallery: what is read there is so still when it is written.

        Whatever writes does so within one of its own, or within one that is open. Completes what another process left
        unfinished. Raises `UserError` where others do not end, or one had to take this process for dead.
        """
        if self._turn is not None:
            yield
            return
        with turn_lib.take(self._store, self._say) as self._turn:
            try:
                self._collection = collection_lib.complete(self._turn, self._marked)
                if self._marked and not collection_lib.is_marked(self._store, self._marked):
                    self._marked = None
                yield
            finally:
                self._turn = None

    def _find(self) -> Collection | None:
        """Returns the gallery's collection, wherever another process' deletion has moved it since."""
        if self._turn is None and not self._store.is_embedded:
            self._collection = collection_lib.find_loaded(self._store, self._collection)
        return self._collection

    def _read(self, ask: Callable[[Collection], _Answer]) -> _Answer | None:
        """Returns what `ask` reads of the gallery's collection, of the next where it goes away meanwhile; else None."""
        held = self._find()
        try:
            return held and ask(held)
        except UserError:
            if self._find() in (held, None):
                raise
            return ask(self._collection)

    @property
    def uri(self) -> str:
        """Where it is, as the user wrote it."""
        return self._store.uri

    @property
    def encoder(self) -> str | None:
        """The name of the encoder whose vectors these are; None where there are none."""
        return self._collection.encoder if self.count() else None

    def check(self, encoder: "FaceEncoder") -> None:
        """Raises `UserError` where there are vectors, and these are not of this encoder in this version."""
        held = self._find()
        if held is not None and not self._is_of(encoder) and self.count():
            raise UserError(
                f"the gallery {self.uri} holds vectors of {held.encoder} (version {held.version}), which cannot be "
                f"compared with those of {encoder.name} (version {encoder.version}); use the same --encoder, or enrol "
                "into another --gallery"
            )

    def _is_of(self, encoder: "FaceEncoder") -> bool:
        held = self._collection
        return held is not None and (held.encoder, held.version) == (encoder.name, encoder.version)

    def count(self, condition: str = "") -> int:
        """Returns how many records fulfil the condition (see `records.condition`)."""
        return self._read(lambda held: collection_lib.count(self._store, held, condition)) or 0

    def add(
        self, encoder: "FaceEncoder", records: Sequence[Record], vectors: np.ndarray, *, replaces: bool = False
    ) -> None:
        """Enrols unit vectors [N, D] of `encoder`; on return they are there to stay, whatever ends the process.

        A record takes the place of one with its id. With `replaces` the next `settle` leaves no trace of what was
        there before, or, where that is interrupted, whoever writes to the gallery next, or opens an embedded one.
        Raises `UserError` where `check` does.
        """
        with self.writing():
            self.check(encoder)
            if not self._is_of(encoder):
                before, version = self._collection, (encoder.name, encoder.version)
                first = before.next(*version) if before else Collection(1, *version)
                collection_lib.start(self._turn, first, encoder.size, before)
                self._collection = first
            if replaces:
                self._mark()
            self._owners.add(records, replaces=replaces)
            collection_lib.insert(self._turn, self._collection, records_lib.to_rows(records, vectors))

    def _mark(self) -> None:
        if self._marked is None:
            self._marked = collection_lib.mark(self._turn, self._collection)

    def _remove(self, condition: str) -> None:
        self._collection = collection_lib.remove(self._turn, self._collection, condition)
        self._marked = None
        self._owners.forget()

    def settle(self) -> None:
        """Call it after many an `add`: removes what these replaced, and brings the index to the kind and up to date."""
        with self.writing():
            if self._marked:
                self._remove("")
            elif self._collection is not None:
                collection_lib.settle(self._turn, self._collection)

    @property
    def index(self) -> str | None:
        """Milvus's name of the index: FLAT compares all. None before the first enrolment."""
        found = self._index()
        return found and found.kind

    def _index(self) -> indexes.Index | None:
        return self._read(lambda held: collection_lib.index_of(self._store, held))

    def search(self, vectors: np.ndarray, k: int, condition: str = "") -> list[list[Match]]:
        """Returns up to `k` nearest records for each of the unit vectors [N, D], the nearest first.

        Exact where there is a condition, whatever the index: a graph would miss who fulfils it.
        """
        index = self._index()
        if self._collection is None:
            return [[] for _ in vectors]
        if index is None or (condition and index != indexes.EXACT):
            return self._matches(scan.nearest(vectors, self._pages(condition, ["vector"]), k, "id"))
        return [
            [Match(records_lib.from_row(row["entity"]), float(row["distance"])) for row in rows]
            for rows in self._ask(index, vectors, k, condition, collection_lib.FIELDS)
        ]

    def search_people(self, vectors: np.ndarray, k: int, condition: str = "") -> list[list[Match]]:
        """As `search`, but the nearest record of each of up to `k` nearest people."""
        index = self._index()
        if self._collection is None:
            return [[] for _ in vectors]
        best: list[list[Near]] = [[] for _ in vectors]
        left, limit = list(range(len(vectors))), 4 * k
        asks = index is not None and (index == indexes.EXACT or not condition)
        while asks and left and limit <= DEEPEST:
            few = []
            for query, rows in zip(left, self._ask(index, vectors[left], limit, condition, ["name"]), strict=True):
                nearest: dict[str, Near] = {}
                for row in rows:
                    nearest.setdefault(row["entity"]["name"], (float(row["distance"]), row["id"]))
                best[query] = list(nearest.values())[:k]
                is_all = index == indexes.EXACT and len(rows) < limit
                few += [query] if len(nearest) < k and not is_all else []
            left, limit = few, 4 * limit
        if left:  # many records of few people come first: whoever else is there lies far down
            pages = self._pages(condition, ["name", "vector"])
            for query, people in zip(left, scan.nearest(vectors[left], pages, k, "name"), strict=True):
                best[query] = people
        return self._matches(best)

    def _ask(
        self, index: indexes.Index, vectors: np.ndarray, k: int, condition: str, fields: list[str]
    ) -> Iterator[list[dict]]:
        """Yields the engine's answer to each of the vectors: up to `k` rows, the nearest first."""
        limit = min(k, MAX_RESULTS)
        params = dict(index.search)
        if "ef" in params:
            params["ef"] = max(params["ef"], limit)
        at_once = max(1, min(QUERIES, MAX_ROWS // limit))
        for start in range(0, len(vectors), at_once):
            options = {
                "data": vectors[start : start + at_once].tolist(),
                "anns_field": "vector",
                "limit": limit,
                "filter": condition,
                "output_fields": fields,
                "search_params": {"metric_type": "COSINE", "params": params},
            }
            yield from self._read(lambda held, options=options: self._store.call("search", held.name, **options))

    def _matches(self, near: Sequence[Sequence[Near]]) -> list[list[Match]]:
        """Returns the records that were found, with their scores."""
        held = self.held({id_ for row in near for _, id_ in row})
        # Who was deleted since is not there any more.
        return [[Match(held[id_][0], score) for score, id_ in row if id_ in held] for row in near]

    def held(self, ids: Set[str]) -> dict[str, tuple[Record, np.ndarray]]:
        """Returns those of the records that are there, and their unit vectors [D], by their ids."""
        return self._read(lambda held: collection_lib.with_ids(self._store, held, sorted(ids))) or {}

    def owners(self, digests: Set[str]) -> dict[str, set[str]]:
        """Returns the names under which photographs are there, by their SHA-256."""
        if self._store.is_embedded:  # nobody else writes to it
            known = self._owners.find(digests, lambda: self._pages("", ["name", "sources"]))
            if known is not None:
                return known
        return self._read(lambda held: collection_lib.owners(self._store, held, sorted(digests))) or {}

    def records(self, condition: str = "") -> Iterator[Record]:
        """Yields the records that fulfil the condition, in no order."""
        for rows in self._pages(condition, collection_lib.FIELDS):
            yield from map(records_lib.from_row, rows)

    def vectors(self, condition: str = "") -> Iterator[tuple[list[Record], np.ndarray]]:
        """As `records`, some thousands at a time, with their unit vectors float32 [n, D]."""
        for rows in self._pages(condition, [*collection_lib.FIELDS, "vector"]):
            yield list(map(records_lib.from_row, rows)), np.array([row["vector"] for row in rows], np.float32)

    def _pages(self, condition: str, fields: list[str]) -> Iterator[list[dict]]:
        """Yields all rows; where the collection goes away meanwhile, the rest of them from the next."""
        held, last = self._find(), ""
        while held is not None:
            rest = " and ".join(filter(None, (condition and f"({condition})", last and f'id > "{last}"')))
            try:
                for rows in self._store.pages(held.name, rest, list({"id", *fields})):
                    yield rows
                    last = rows[-1]["id"]  # the store pages by id
                return
            except UserError:
                if self._find() == held:
                    raise
                held = self._collection

    def update(self, condition: str, change: Callable[[Record], Record]) -> int:
        """Puts `change(record)` in the place of each record that fulfils the condition, also where its id is another.

        Returns how many these were. What they were before is gone for good then, as after `delete`.
        """
        changed, gone = 0, set()
        with self.writing():
            # The store pages by id: what is put in the place of a record under its id is not met again.
            for records, vectors in self.vectors(condition):
                self._mark()
                rows = records_lib.to_rows(map(change, records), vectors)
                collection_lib.insert(self._turn, self._collection, rows)
                gone |= {record.id for record in records} - {row["id"] for row in rows}
                changed += len(records)
            if changed:
                self._remove(records_lib.any_of("id", sorted(gone)) if gone else "")
        return changed

    def delete(self, condition: str) -> int:
        """Deletes the records that fulfil the condition, for good, and returns how many these were.

        When it returns, no file of an embedded gallery, nor of milvus-lite's server, holds a deleted vector. A Milvus
        server is told to compact, and removes the files by its own garbage collection. Completes a deletion that was
        interrupted, also where nothing fulfils the condition any more.
        """
        with self.writing():
            found = self.count(condition)
            if found:
                self._remove(condition)
        return found
