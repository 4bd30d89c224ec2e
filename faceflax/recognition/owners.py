"""Under which names photographs are enrolled, kept in memory for as long as nobody else can write to the gallery."""

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

from faceflax.recognition.records import Record

FEW = 200
"""Photographs. To look for one in the database takes about a two hundredth of the time that reading all takes."""

_Names = dict[str, set[str]]  # by SHA-256


class Owners:
    """What is known of them: nothing until more than a few were looked for."""

    def __init__(self) -> None:
        self._names: _Names | None = None
        self._asked = 0

    def find(self, digests: Set[str], read: Callable[[], Iterable[list[dict[str, Any]]]]) -> _Names | None:
        """Returns the names by SHA-256; None where these are so few still that they are better looked for.

        `read` gives the `name` and the `sources` of all records, some at a time.
        """
        self._asked += len(digests)
        if self._names is None:
            if self._asked <= FEW:
                return None
            self._names = _note({}, ((row["name"], row["sources"]) for rows in read() for row in rows))
        return {digest: set(self._names[digest]) for digest in digests if digest in self._names}

    def add(self, records: Sequence[Record], *, replaces: bool) -> None:
        """Takes what is enrolled."""
        if replaces and any(record.is_average for record in records):  # it may have lost photographs
            self.forget()
        elif self._names is not None:  # any other record has its photograph in its key
            _note(self._names, ((record.name, record.sources) for record in records))

    def forget(self) -> None:
        """Call it when records are deleted or renamed."""
        self._names = None


def _note(names: _Names, photographs: Iterable[tuple[str, Sequence[str]]]) -> _Names:
    for name, digests in photographs:
        for digest in digests:
            names.setdefault(digest, set()).add(name)
    return names
