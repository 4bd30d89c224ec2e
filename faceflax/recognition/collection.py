"""How a gallery lies in its database: one collection, named after the encoder, and the alias that points to it.

A collection's files keep what was deleted from it. So a deletion writes the next collection without what is deleted,
moves the alias, and drops the one before. Its steps are such that, after any interruption, what lies there tells how to
go on: collections numbered below the alias's are to be dropped; one above it is an unfinished copy.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable

from faceflax.errors import UserError
from faceflax.recognition import indexes
from faceflax.recognition import records as records_lib
from faceflax.recognition.records import Record
from faceflax.recognition.store import Store

ALIAS = "faceflax"
FIELDS = [field.name for field in dataclasses.fields(Record)]
_NOTE = records_lib.MAX_NOTE
_TEXTS = {"name": records_lib.MAX_NAME, "encoder": 64, "version": 64, "consent": _NOTE, "purpose": _NOTE}
_OTHERS = {"length": "DOUBLE", "time": "INT64", "is_average": "BOOL", "sources": "JSON", "metadata": "JSON"}
_NAME = re.compile(ALIAS + r"_(?P<encoder>[A-Za-z0-9]+)_(?P<version>[0-9a-f]+)_(?P<number>\d+)")


@dataclasses.dataclass(frozen=True, order=True)
class Collection:
    """The collection of one version of an encoder; each rewriting counts the number up."""

    number: int
    encoder: str
    version: str

    @property
    def name(self) -> str:
        """As the database knows it."""
        return f"{ALIAS}_{self.encoder}_{self.version}_{self.number}"


def find(store: Store) -> Collection | None:
    """Returns the gallery's collection; None before the first enrolment.

    Completes what an interruption left unfinished, but in a store of many users not the unfinished copy of a rewriting,
    which another process may be about: the next deletion makes it anew.
    """
    names = filter(None, map(_NAME.fullmatch, store.call("list_collections")))
    existing = sorted(Collection(int(name["number"]), name["encoder"], name["version"]) for name in names)
    current = next((each for each in existing if ALIAS in _aliases(store, each)), None)
    if current is None and existing:  # interrupted in `create`
        current = existing[0]
        store.call("create_alias", current.name, ALIAS)
    if current is None:
        return None
    if not store.compacts:
        for old in existing[: existing.index(current)]:
            store.call("drop_collection", old.name)
    if store.call("describe_index", current.name, "vector") is None:  # interrupted in `create` or `settle`
        store.create_index(current.name, indexes.EXACT.kind, indexes.EXACT.build)  # the next `settle` chooses
    if store.is_embedded and existing[-1] != current:
        store.call("load_collection", current.name)
        current = rewrite(store, current, "")
    return current


def _aliases(store: Store, collection: Collection) -> Iterable[str]:
    return store.call("list_aliases", collection.name)["aliases"]


def create(store: Store, collection: Collection, size: int, *, is_current: bool) -> None:
    """Makes an empty collection for vectors of `size`, and points the alias to it if it `is_current`."""
    store.create_collection(collection.name, size, _TEXTS, _OTHERS)
    store.create_index(collection.name, indexes.EXACT.kind, indexes.EXACT.build)
    store.call("load_collection", collection.name)
    if is_current:
        store.call("create_alias", collection.name, ALIAS)


def count(store: Store, collection: Collection, condition: str = "") -> int:
    """Returns how many records fulfil the condition."""
    (row,) = store.call("query", collection.name, filter=condition, output_fields=["count(*)"])
    return int(row["count(*)"])


def index_of(store: Store, collection: Collection) -> indexes.Index:
    """Returns the index that is there."""
    return indexes.of_kind(store.call("describe_index", collection.name, "vector")["index_type"])


def settle(store: Store, collection: Collection) -> None:
    """Writes out what was added, and changes the kind of index where the collection has outgrown it."""
    store.call("flush", collection.name)
    chosen = indexes.choose(count(store, collection))
    if index_of(store, collection).kind != chosen.kind:
        store.call("release_collection", collection.name)
        store.call("drop_index", collection.name, "vector")
        store.call("release_collection", collection.name)  # without an index an embedded one is loaded again
        store.create_index(collection.name, chosen.kind, chosen.build)
        store.call("load_collection", collection.name)


def delete(store: Store, collection: Collection, condition: str) -> Collection:
    """Deletes what fulfils the condition, and returns the collection that holds the rest.

    A Milvus server that compacts is told to, and removes files by its own garbage collection. Elsewhere the collection
    is written anew: on return no file holds what was deleted.
    """
    if not store.compacts:
        return rewrite(store, collection, condition)
    store.call("delete", collection.name, filter=condition)
    store.call("flush", collection.name)
    store.call("compact", collection.name)
    return collection


def _content(store: Store, collection: Collection) -> tuple[int, int]:
    """How many records it holds, and a number that stands for them in any order, their vectors aside."""
    total, number = 0, 0
    for rows in store.pages(collection.name, "", ["id", *FIELDS]):
        for row in rows:
            text = json.dumps([row[name] for name in ("id", *FIELDS)], sort_keys=True, default=dict)
            number ^= int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        total += len(rows)
    return total, number


def is_unfinished(store: Store, collection: Collection) -> bool:
    """Whether a rewriting of it was interrupted, or goes on elsewhere: its files may hold what is deleted."""
    return not store.compacts and store.call("has_collection", _next(collection).name)


def _next(collection: Collection) -> Collection:
    return dataclasses.replace(collection, number=collection.number + 1)


def rewrite(store: Store, old: Collection, condition: str) -> Collection:
    """Returns a new collection with all of `old` but what fulfils the condition (nothing does "").

    Raises `UserError` where another process wrote meanwhile; what it wrote until the records are compared at the end is
    not lost.
    """
    new = _next(old)
    store.call("drop_collection", new.name)
    fields = store.call("describe_collection", old.name)["fields"]
    size = next(field["params"]["dim"] for field in fields if field["name"] == "vector")
    create(store, new, size, is_current=False)  # from here on, an interruption is found and the rewriting done again
    if condition:
        store.call("delete", old.name, filter=condition)
    for rows in store.pages(old.name, "", ["id", "vector", *FIELDS]):
        insert(store, new, rows)
    settle(store, new)
    if _content(store, new) != _content(store, old):
        store.call("drop_collection", new.name)
        raise UserError(f"another process changed {store.uri} while it deleted; delete again when that has ended")
    store.call("alter_alias", new.name, ALIAS)
    store.call("drop_collection", old.name)
    return new


BATCH = 1000
"""Rows of one write."""


def insert(store: Store, collection: Collection, rows: list[dict]) -> None:
    """Writes rows, a batch at a time; each takes the place of one with its id."""
    for start in range(0, len(rows), BATCH):
        store.call("upsert", collection.name, rows[start : start + BATCH])
