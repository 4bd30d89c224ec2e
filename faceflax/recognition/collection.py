"""How a gallery lies in its database: one collection, named after the encoder, with the alias of its number.

A collection's files keep what was deleted from it or replaced in it. So a deletion copies what stays into a collection
of its own with the next number, gives it the alias of that number, and drops the one before. The gallery is the
collection with the highest alias. A database gives an alias once: of processes that delete at one time one wins, and
the others go on from its collection.

After any interruption what lies there tells how to go on: below the gallery's number all is done with; above it is a
copy, unfinished or another process'.
"""

import dataclasses
import hashlib
import json
import re
import uuid
from collections.abc import Iterator

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
_NAME = re.compile(ALIAS + r"_(?P<encoder>[A-Za-z0-9]+)_(?P<version>[0-9a-f]+)_(?P<number>\d+)(_(?P<token>[0-9a-f]+))?")
_ATTEMPTS = 10  # each that fails is another process' deletion that was done


@dataclasses.dataclass(frozen=True, order=True)
class Collection:
    """A collection of one version of an encoder; each rewriting counts the number up.

    Two of one number, of processes that rewrite at one time, differ by `token`; the first galleries had none.
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


def existing(store: Store) -> list[Collection]:
    """Returns all collections of the gallery, finished or not, by number."""
    names = filter(None, map(_NAME.fullmatch, store.call("list_collections")))
    return sorted(
        Collection(int(name["number"]), name["encoder"], name["version"], name["token"] or "") for name in names
    )


def find(store: Store) -> Collection | None:
    """Returns the gallery's collection; None before the first enrolment. Changes nothing."""
    held = [each for each in existing(store) if store.call("list_aliases", each.name)["aliases"]]
    return held[-1] if held else None


def complete(store: Store) -> Collection | None:
    """As `find`; completes what was interrupted in a store that this process has to itself.

    In a store of many the next deletion does that: here nobody can tell an interruption from another process' work.
    Raises `UserError` where records lie there that belong to no gallery.
    """
    current = find(store)
    if not store.is_embedded:
        return current
    others = [each for each in existing(store) if each != current]
    aliases = store.call("list_aliases", "")["aliases"]
    highest = max((int(number) for alias in aliases for number in re.findall(rf"^{ALIAS}_(\d+)$", alias)), default=0)
    if current is None:
        if aliases or any(count(store, each) for each in others):
            raise _damaged(store)
        for each in others:  # interrupted in `start`, before anything was put into it
            store.call("drop_collection", each.name)
        return None
    if current.number < highest or not store.is_whole(current.name):
        raise _damaged(store)
    if index_of(store, current) is None:  # interrupted in `settle`; the next one chooses
        store.create_index(current.name, indexes.EXACT.kind, indexes.EXACT.build)
    if others and others[-1].number > current.number:
        store.call("load_collection", current.name)
        return rewrite(store, current, "")
    _sweep(store, current)
    return current


def _damaged(store: Store) -> UserError:
    return UserError(f"the gallery {store.uri} is damaged: files are missing in it; put back a copy of it")


def _sweep(store: Store, current: Collection) -> None:
    """Drops what can no longer become the gallery, and in a store of our own all but the gallery."""
    for each in existing(store):
        if each != current and (store.is_embedded or each.number <= current.number):
            store.call("drop_collection", each.name)


def create(store: Store, collection: Collection, size: int) -> None:
    """Makes an empty collection for vectors of `size`."""
    store.create_collection(collection.name, size, _TEXTS, _OTHERS)
    store.create_index(collection.name, indexes.EXACT.kind, indexes.EXACT.build)
    store.call("load_collection", collection.name)


def claim(store: Store, collection: Collection) -> bool:
    """Makes it the gallery; false where another collection of its number or above is that already."""
    try:
        store.call("create_alias", collection.name, f"{ALIAS}_{collection.number}")
    except UserError:
        current = find(store)
        if current is None or current.number < collection.number:
            raise
        return current == collection
    return True


def start(store: Store, new: Collection, size: int, before: Collection | None) -> Collection | None:
    """Makes `new` the gallery, for vectors of `size`, in the place of none or of the empty collection `before`.

    Returns the gallery's collection: another process', where one enrolled first.
    """
    try:
        create(store, new, size)
        is_first = claim(store, new) and not (before and count(store, before))
    except UserError:
        if find(store) == before:
            raise
        is_first = False
    if is_first:
        _sweep(store, new)
    else:
        store.call("drop_collection", new.name)
    return find(store)


def count(store: Store, collection: Collection, condition: str = "") -> int:
    """Returns how many records fulfil the condition."""
    (row,) = store.call("query", collection.name, filter=condition, output_fields=["count(*)"])
    return int(row["count(*)"])


def index_of(store: Store, collection: Collection) -> indexes.Index | None:
    """Returns the index that is there; None while another process makes one."""
    found = store.call("describe_index", collection.name, "vector")
    return found and indexes.of_kind(found["index_type"])


def settle(store: Store, collection: Collection) -> None:
    """Writes out what was added, and changes the kind of index where the collection has outgrown it."""
    store.call("flush", collection.name)
    chosen, found = indexes.choose(count(store, collection)), index_of(store, collection)
    if found is None or found.kind != chosen.kind:
        store.call("release_collection", collection.name)
        if found is not None:
            store.call("drop_index", collection.name, "vector")
            store.call("release_collection", collection.name)  # without an index an embedded one is loaded again
        store.create_index(collection.name, chosen.kind, chosen.build)
        store.call("load_collection", collection.name)


def mark(store: Store, collection: Collection) -> None:
    """Notes that its files are about to hold what must not stay there: an empty copy, until `remove` is done."""
    if not store.compacts:
        create(store, collection.next(collection.encoder, collection.version), _size(store, collection))


def remove(store: Store, collection: Collection, condition: str) -> Collection:
    """Deletes what fulfils the condition (nothing does ""), and returns the collection that holds the rest.

    A Milvus server that compacts is told to, and removes files by its own garbage collection. Elsewhere the collection
    is written anew: on return no file holds what was deleted or replaced.
    """
    if not store.compacts:
        return rewrite(store, collection, condition)
    if condition:
        store.call("delete", collection.name, filter=condition)
    store.call("flush", collection.name)
    store.call("compact", collection.name)
    return collection


def is_unfinished(store: Store, collection: Collection) -> bool:
    """Whether a rewriting was interrupted, or goes on elsewhere: files may hold what is deleted."""
    return not store.compacts and existing(store) != [collection]


def rewrite(store: Store, old: Collection, condition: str) -> Collection:
    """Returns a new collection with what `old` holds but what fulfils the condition (nothing does "").

    Where another process made another of `old` meanwhile, that is what it starts from. What others add meanwhile is
    carried over. Raises `UserError` where others delete without end.
    """
    for _ in range(_ATTEMPTS):
        new = old.next(old.encoder, old.version)
        copy = _Copy(store, old, new, condition)
        try:
            create(store, new, _size(store, old))  # from here on an interruption is found, and the rewriting done again
            copy.make()
            is_first = claim(store, new)
        except UserError:
            if find(store) == old:
                raise
            is_first = False
        if is_first:
            copy.finish()
            return new
        store.call("drop_collection", new.name)
        old = find(store) or old
    raise UserError(f"other processes delete from {store.uri} again and again; delete when they have ended")


class _Copy:
    """What `old` holds but what fulfils the condition, on its way to `new`."""

    def __init__(self, store: Store, old: Collection, new: Collection, condition: str):
        self._store, self._old, self._new, self._condition = store, old, new, condition
        self._copied: dict[str, bytes] = {}

    def make(self) -> None:
        """Copies all that is there; raises `UserError` where the copy is not whole."""
        self._carry()
        settle(self._store, self._new)
        if count(self._store, self._new) != len(self._copied):
            raise UserError(f"the gallery {self._store.uri} could not be copied whole, and is as it was; delete again")
        if not self._store.is_embedded:
            self._carry()

    def finish(self) -> None:
        """Call it once `new` is the gallery: copies what was written before everybody could see that; drops `old`."""
        if not self._store.is_embedded:
            for rows in self._changed():
                write(self._store, self._new, rows)
        self._store.call("drop_collection", self._old.name)
        _sweep(self._store, self._new)

    def _carry(self) -> None:
        for rows in self._changed():
            insert(self._store, self._new, rows)

    def _changed(self) -> Iterator[list[dict]]:
        """Yields what `old` holds and `new` does not hold yet."""
        if self._condition:
            self._store.call("delete", self._old.name, filter=self._condition)
        for rows in self._store.pages(self._old.name, "", ["id", "vector", *FIELDS]):
            digests = {row["id"]: _digest(row) for row in rows}
            yield [row for row in rows if self._copied.get(row["id"]) != digests[row["id"]]]
            self._copied |= digests


def _digest(row: dict) -> bytes:
    """Stands for a record, its vector aside."""
    text = json.dumps([row[name] for name in ("id", *FIELDS)], sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).digest()


def _size(store: Store, collection: Collection) -> int:
    fields = store.call("describe_collection", collection.name)["fields"]
    return next(field["params"]["dim"] for field in fields if field["name"] == "vector")


BATCH = 1000
"""Rows of one write."""


def insert(store: Store, collection: Collection, rows: list[dict]) -> None:
    """Writes rows, a batch at a time; each takes the place of one with its id."""
    for start in range(0, len(rows), BATCH):
        store.call("upsert", collection.name, rows[start : start + BATCH])


def write(store: Store, collection: Collection, rows: list[dict]) -> Collection:
    """As `insert`, but returns where the gallery is when they are in it, whoever moves it meanwhile.

    A deletion copies what was there before its copy became the gallery: who sees no other gallery after writing can
    leave the rest to it. Raises `UserError` where the gallery has become one of another encoder.
    """
    while True:
        try:
            insert(store, collection, rows)
        except UserError:
            if find(store) == collection:
                raise
        latest = find(store)
        if latest == collection:
            return collection
        if latest is None or (latest.encoder, latest.version) != (collection.encoder, collection.version):
            raise UserError(f"another process emptied the gallery {store.uri} meanwhile; try again")
        collection = latest
