"""For tests of galleries: an invented encoder, its vectors and their records; interruptions, and what files hold."""

import numpy as np
import pyarrow.parquet

from faceflax.models.face_encoder import FaceEncoder
from faceflax.recognition import store
from faceflax.recognition.records import Record

ENCODER = FaceEncoder("invented", "00c0ffee", 16, 32, load=dict, embed=lambda params, images: images)


def unit_vectors(count, size=ENCODER.size, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def record(name, source="0", **changes):
    values = {"encoder": ENCODER.name, "version": ENCODER.version, "sources": (source,), "length": 1.0}
    return Record(**values | {"name": name, "consent": "", "purpose": "", "time": 1_800_000_000} | changes)


def names_and_scores(matches):
    return [(match.record.name, round(match.score, 5)) for match in matches]


def interrupt(monkeypatch, opened, step, after=None):
    """From here on, or from a call of `after` on, the store is killed where it would call `step`."""
    call, done = opened.call, [None]

    def interrupted(method, *arguments, **options):
        if method == step and after in done:
            raise KeyboardInterrupt
        done.append(method)
        return call(method, *arguments, **options)

    monkeypatch.setattr(opened, "call", interrupted)


def collections_of(opened):
    """The database's collections but that of the last turn."""
    return [name for name in opened.call("list_collections") if not name.startswith("faceflax_turn")]


def empty(uri):
    with store.connect(uri) as opened:
        for name in opened.call("list_collections"):
            opened.drop(name)


def bytes_below(folder):
    """All that the gallery's files hold, also unpacked."""
    found = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for path in folder.rglob("*.parquet"):
        table = pyarrow.parquet.read_table(path)
        for name in {"name", "purpose", "vector"} & set(table.column_names):
            values = table[name].to_pylist()
            found += b"".join(
                value.encode() if isinstance(value, str) else np.array(value, np.float32).tobytes() for value in values
            )
    return found
