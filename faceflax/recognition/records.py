"""What a gallery keeps of an enrolled face beside its vector, and the conditions that choose among such records."""

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from faceflax.errors import UserError

MAX_NAME = 256
MAX_NOTE = 2048
"""Bytes of UTF-8."""

_NOTES = ("name", "consent", "purpose")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Record:
    """One enrolled vector's companions.

    Attributes:
      name: of the person.
      encoder: name of the network that made the vector.
      version: of that network.
      sources: SHA-256 of each file that went into the vector: one, or several where it is their average.
      length: of the mean of the photographs' unit vectors, before it was made a unit vector again; 1 for one.
      consent: a note on the person's consent.
      purpose: a note on what the enrolment is for.
      time: when it was enrolled, in seconds since 1970, UTC.
      metadata: whatever else the user keeps, texts by name.
      is_average: whether it stands for all photographs of the person that were enrolled to be averaged.
    """

    name: str
    encoder: str
    version: str
    sources: tuple[str, ...]
    length: float
    consent: str
    purpose: str
    time: int
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_average: bool = False

    @property
    def id(self) -> str:
        """The record's key: a photograph enrolled again under a name takes its old record's place."""
        return record_id(self.name, None if self.is_average else self.sources[0])


def record_id(name: str, source: str | None) -> str:
    """The key of the record of one photograph of a person, or of the person's average (no `source`)."""
    return hashlib.sha256(f"{name}\0{source or 'average'}".encode()).hexdigest()[:32]


def to_row(record: Record) -> dict[str, Any]:
    """Returns the record as the database's fields, without the vector."""
    row = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return row | {"id": record.id, "sources": list(record.sources), "metadata": dict(record.metadata)}


def to_rows(records: Iterable[Record], vectors: np.ndarray) -> list[dict[str, Any]]:
    """Returns records as the database's fields, with their vectors [N, D]."""
    return [to_row(record) | {"vector": vector} for record, vector in zip(records, vectors.tolist(), strict=True)]


def from_row(row: Mapping[str, Any]) -> Record:
    """The inverse of `to_row`; other fields are passed over."""
    values = {field.name: row[field.name] for field in dataclasses.fields(Record)}
    return Record(**values | {"sources": tuple(row["sources"]), "metadata": dict(row["metadata"])})


def is_control(character: str) -> bool:
    """Whether it is no text but a control character, an end of a line or paragraph, or half of a character."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def check_text(what: str, text: str, limit: int) -> str:
    """Returns `text`; raises `UserError` where it is longer than `limit` bytes, or holds control characters."""
    if len(text.encode("utf-8", "surrogateescape")) > limit:
        raise UserError(f"{what} is longer than {limit} bytes; shorten it")
    if any(map(is_control, text)):
        raise UserError(f"{what} {text!r} holds control characters or is not UTF-8; write it in plain text")
    return text


def normalise(name: str) -> str:
    """Returns a person's name as it is kept: composed (NFC), without blanks around it."""
    return unicodedata.normalize("NFC", name).strip()


def check_name(name: str) -> str:
    """Returns a person's name as it is kept; raises `UserError` for an empty one and where `check_text` does."""
    name = normalise(name)
    if not name:
        raise UserError("an empty name cannot be enrolled; say who it is with --name")
    return check_text("the name", name, MAX_NAME)


def parse_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Reads KEY=VALUE texts of a command's `option`; raises `UserError` for one that is not of that form."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise UserError(f"{option} {text!r} is not KEY=VALUE with a key of letters, digits and _")
        pairs[key] = check_text(f"{option} {key}", value, MAX_NOTE)
    return pairs


def parse_metadata(texts: Sequence[str]) -> dict[str, str]:
    """Reads the KEY=VALUE texts of --set; raises `UserError` as `parse_pairs`, and for a key that is no metadata."""
    pairs = parse_pairs("--set", texts)
    for key in set(pairs) & set(_NOTES):
        raise UserError(f"--set {key}=... is no metadata but the record's own; pass --{key}")
    return pairs


def condition(names: Sequence[str] = (), where: Mapping[str, str] | None = None) -> str:
    """Returns the database's expression for records of any of `names` that hold all of `where`; "" is every record.

    Args:
      names: of people, as a user writes them.
      where: texts by key; `name`, `consent` and `purpose` are the record's own, any other key is one of its metadata.
    """
    terms = [_named(names)] if names else []
    for key, value in (where or {}).items():
        field = key if key in _NOTES else f'metadata["{key}"]'
        terms.append(_named([value]) if key == "name" else f"{field} == {json.dumps(value, ensure_ascii=False)}")
    return " and ".join(terms)


def _named(names: Sequence[str]) -> str:
    """As they are kept, decomposed as earlier galleries may hold them, and letter for letter."""
    return any_of("name", list(dict.fromkeys(each for name in names for each in _spellings(name))))


def _spellings(name: str) -> tuple[str, ...]:
    kept = normalise(name)
    return kept, unicodedata.normalize("NFD", kept), name


def any_of(field: str, values: Sequence[str]) -> str:
    """Returns the expression for records whose `field` is one of the values."""
    return f"{field} in {json.dumps(list(values), ensure_ascii=False)}"


def of_sources(digests: Sequence[str], *, as_text: bool) -> str:
    """Returns the expression for records that any of the photographs, by SHA-256, went into.

    Milvus looks into JSON. milvus-lite can, but unpacks every vector for that; it holds JSON as text, and searches
    texts in a small part of the time (`as_text`).
    """
    if as_text:
        return " or ".join(f'sources like "%{digest}%"' for digest in digests)
    return f"json_contains_any(sources, {json.dumps(list(digests))})"


EVERYBODY = 'id != ""'
"""The condition that every record fulfils, where one must be written out."""
