"""How a gallery lies in its database: one collection, named after the encoder, and the alias that points to it.

A collection's files keep what was deleted from it or replaced in it. So a deletion writes the next collection without
what is deleted, moves the alias, and drops the one before. Its steps are such that, after any interruption, what lies
there tells who writes next how to go on: collections numbered below the alias's are done with; one above it is an
unfinished copy, and says that files may hold what is deleted.

Whatever changes something needs the gallery's turn (`recognition.turn`); `find`, `count` and `index_of` do not.
"""

import collections
import dataclasses
import re
import uuid
from collections.abc import Sequence

import numpy as np

from faceflax.errors import UserError
from faceflax.progress import progress_bar
from faceflax.recognition import indexes
from faceflax.recognition import records as records_lib
from faceflax.recognition.records import Record
from faceflax.recognition.store import Store
from faceflax.recognition.turn import Turn

ALIAS = "faceflax"
FIELDS = [field.name for field in dataclasses.fields(Record)]
_NOTE = records_lib.MAX_NOTE
_TEXTS = {"name": records_lib.MAX_NAME, "encoder": 64, "version": 64, "consent": _NOTE, "purpose": _NOTE}
_OTHERS = {"length": "DOUBLE", "time": "INT64", "is_average": "BOOL", "sources": "JSON", "metadata": "JSON"}
_DIGESTS = 64  # in one condition: each is a term of it
_NAME = re.compile(ALIAS + r"_(?P<encoder>[A-Za-z0-9]+)_(?P<version>[0-9a-f]+)_(?P<number>\d+)(_(?P<token>[0-9a-f]+))?")


@dataclasses.dataclass(frozen=True, order=True)
class Collection:
    """A collection of one version of an encoder; each rewriting counts the number up.

    Its `token` is no other's: what a process that was suspended goes on to write never comes into another's copy. The
    first galleries had none.
    """

    number: int
    encoder: str
    version: str
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def name(self) -> str:
        """As the database knows it."""
        return "_".join(filter(None, [ALIAS, self.encoder, self.version, str(self.number), self.token]))

    def next(self, encoder: str, version: str) -> "Collection":
        """Returns a new one that can come after it."""
        return Collection(self.number + 1, encoder, version)


def _of_name(name: str) -> Collection | None:
    match = _NAME.fullmatch(name)
    return match and Collection(int(match["number"]), match["encoder"], match["version"], match["token"] or "")


def _existing(store: Store) -> list[Collection]:
    """All collections of the gallery, finished or not, by number."""
    return sorted(filter(None, map(_of_name, store.call("list_collections"))))


def find(store: Store) -> Collection | None:
    """Returns the gallery's collection; None before the first enrolment."""
    try:
        return _of_name(store.call("describe_alias", ALIAS)["collection_name"])
    except UserError:
        if ALIAS in store.call("list_aliases", "")["aliases"]:
            raise
        return None


def find_loaded(store: Store, loaded: Collection | None) -> Collection | None:
    """As `find`, ready to be read; `loaded` is so already."""
    found = find(store)
    if found is None or found == loaded:
        return found
    try:
        store.call("load_collection", found.name)
    except UserError:
        if find(store) == found:
            raise
        return find_loaded(store, loaded)
    return found


def complete(turn: Turn, marked: Collection | None = None) -> Collection | None:
    """As `find`; completes what another process left unfinished. `marked` is this one's own, of `mark`.

    Raises `UserError` where records lie there that belong to no gallery, or files are missing.
    """
    store, current = turn.store, find(turn.store)
    existing = _existing(store)
    others = [each for each in existing if each not in (current, marked)]
    if current is None:
        for each in others:  # interrupted in `start`, before anything was put into it
            _prepare(store, each)
            if count(store, each):
                raise _damaged(store)
            _drop(turn, each)
        return None
    if current not in existing or not store.is_whole(current.name):
        raise _damaged(store)
    _prepare(store, current)  # interrupted in `settle`; the next one chooses the index
    if others and others[-1].number > current.number and not store.compacts:
        return rewrite(turn, current, "")
    for each in others:
        _drop(turn, each)
    return current


def _damaged(store: Store) -> UserError:
    return UserError(f"the gallery {store.uri} is damaged: files are missing in it; put back a copy of it")


def _prepare(store: Store, collection: Collection) -> None:
    """Makes sure that it can be read."""
    if store.call("describe_index", collection.name, "vector") is None:
        store.create_index(collection.name, indexes.EXACT.kind, indexes.EXACT.build, waits=False)  # it is none
    store.call("load_collection", collection.name)


def _drop(turn: Turn, collection: Collection) -> None:
    turn.check()
    turn.store.drop(collection.name)


def _create(store: Store, collection: Collection, size: int) -> None:
    """Makes an empty collection for vectors of `size`."""
    store.create_collection(collection.name, size, _TEXTS, _OTHERS)
    _prepare(store, collection)


def start(turn: Turn, new: Collection, size: int, before: Collection | None) -> None:
    """Makes `new` the gallery, for vectors of `size`, in the place of none or of the empty collection `before`."""
    _create(turn.store, new, size)
    turn.check()
    turn.store.call("alter_alias" if before else "create_alias", new.name, ALIAS)
    if before:
        _drop(turn, before)


def count(store: Store, collection: Collection, condition: str = "") -> int:
    """Returns how many records fulfil the condition."""
    (row,) = store.call("query", collection.name, filter=condition, output_fields=["count(*)"])
    return int(row["count(*)"])


def with_ids(store: Store, collection: Collection, ids: Sequence[str]) -> dict[str, tuple[Record, np.ndarray]]:
    """Returns those of the records that are there, and their unit vectors [D], by their ids."""
    fields, found = [*FIELDS, "vector"], {}
    for start in range(0, len(ids), BATCH):
        condition = records_lib.any_of("id", ids[start : start + BATCH])
        for row in store.call("query", collection.name, filter=condition, output_fields=fields):
            found[row["id"]] = records_lib.from_row(row), np.array(row["vector"], np.float32)
    return found


def owners(store: Store, collection: Collection, digests: Sequence[str]) -> dict[str, set[str]]:
    """Returns the names under which photographs are there, alone or in an average, by their SHA-256."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for start in range(0, len(digests), _DIGESTS):
        condition = records_lib.of_sources(digests[start : start + _DIGESTS], as_text=store.is_lite)
        for row in store.call("query", collection.name, filter=condition, output_fields=["name", "sources"]):
            for digest in row["sources"]:
                found[digest].add(row["name"])
    return found


def index_of(store: Store, collection: Collection) -> indexes.Index | None:
    """Returns the index that is there; None while another process makes one."""
    found = store.call("describe_index", collection.name, "vector")
    return found and indexes.of_kind(found["index_type"])


def settle(turn: Turn, collection: Collection) -> None:
    """Writes out what was added, and changes the kind of index where the collection has outgrown it."""
    store = turn.store
    turn.check()
    store.call("flush", collection.name)
    chosen, found = indexes.choose(count(store, collection)), index_of(store, collection)
    if found is None or found.kind != chosen.kind:
        store.call("release_collection", collection.name)
        if found is not None:
            store.call("drop_index", collection.name, "vector")
            store.call("release_collection", collection.name)  # without an index an embedded one is loaded again
        store.create_index(collection.name, chosen.kind, chosen.build)
        store.call("load_collection", collection.name)


def mark(turn: Turn, collection: Collection) -> Collection:
    """Notes that its files are about to hold what must not stay there, by an empty copy until `remove` is done."""
    copy = collection.next(collection.encoder, collection.version)
    if not turn.store.compacts:
        _create(turn.store, copy, _size(turn.store, collection))
    return copy


def is_marked(store: Store, marked: Collection) -> bool:
    """Whether nobody has written the gallery anew since."""
    return store.compacts or store.call("has_collection", marked.name)


def remove(turn: Turn, collection: Collection, condition: str) -> Collection:
    """Deletes what fulfils the condition (nothing does ""), and returns the collection that holds the rest.

    A Milvus server that compacts is told to, and removes files by its own garbage collection. Elsewhere the collection
    is written anew: on return no file holds what was deleted or replaced.
    """
    store = turn.store
    if not store.compacts:
        return rewrite(turn, collection, condition)
    if condition:
        turn.check()
        store.call("delete", collection.name, filter=condition)
    store.call("flush", collection.name)
    store.call("compact", collection.name)
    return collection


def rewrite(turn: Turn, old: Collection, condition: str) -> Collection:
    """Returns a new collection with all of `old` but what fulfils the condition (nothing does "").

    Raises `UserError` where the copy is not whole; what is deleted is gone from `old` by then.
    """
    store, new = turn.store, old.next(old.encoder, old.version)
    _create(store, new, _size(store, old))  # from here on an interruption is found, and the rewriting done again
    if condition:
        turn.check()
        store.call("delete", old.name, filter=condition)
    total = count(store, old)
    with progress_bar() as progress:
        bar = progress.add_task("writing the gallery anew", total=total)
        for rows in store.pages(old.name, "", ["id", "vector", *FIELDS]):
            insert(turn, new, rows)
            progress.advance(bar, len(rows))
    settle(turn, new)
    if (count(store, new), count(store, old)) != (total, total):
        raise UserError(f"the gallery {store.uri} could not be copied whole, and holds who was in it; delete again")
    turn.check()
    store.call("alter_alias", new.name, ALIAS)
    for each in _existing(store):
        if each != new:
            _drop(turn, each)
    return new


def _size(store: Store, collection: Collection) -> int:
    fields = store.call("describe_collection", collection.name)["fields"]
    return next(field["params"]["dim"] for field in fields if field["name"] == "vector")


BATCH = 1000
"""Rows of one write."""


def insert(turn: Turn, collection: Collection, rows: list[dict]) -> None:
    """Writes rows, a batch at a time; each takes the place of one with its id."""
    for start in range(0, len(rows), BATCH):
        turn.check()
        turn.store.call("upsert", collection.name, rows[start : start + BATCH])
