"""What a gallery costs: python -m experiments.gallery [--count=100000 --size=512 --queries=1000 --uri=http://...].

Enrols invented people, five vectors each, in an embedded gallery in a temporary folder and in one behind milvus-lite's
own server on the loopback (or at --uri, which must be empty), searches for the ten nearest of disturbed vectors, and
compares the answers with brute force. The table is printed as Markdown.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable

from absl import flags

from experiments import local_server, program
from faceflax.errors import UserError

_COUNT = flags.DEFINE_integer("count", 100_000, "Vectors.", lower_bound=5)
_SIZE = flags.DEFINE_integer("size", 512, "Length of a vector.", lower_bound=2)
_QUERIES = flags.DEFINE_integer("queries", 1000, "Searches, in batches of 250.", lower_bound=1)
_EXACT_BELOW = flags.DEFINE_integer("exact_below", None, "Vectors from which on the index is a graph, not exact.")
_PLACES = flags.DEFINE_multi_enum("places", ["embedded", "server"], ["embedded", "server"], "Which galleries.")
_URI = flags.DEFINE_string("uri", "", "A server's gallery, instead of a server that is started.")
_K = 10


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import numpy as np

    from faceflax.evaluation.tables import Table, to_markdown
    from faceflax.recognition import indexes, recall

    if _EXACT_BELOW.value is not None:
        indexes.EXACT_BELOW = _EXACT_BELOW.value
    rng = np.random.default_rng(0)
    people = _unit(rng.normal(size=(-(-_COUNT.value // 5), _SIZE.value)))
    vectors = recall.disturbed(np.repeat(people, 5, axis=0)[: _COUNT.value], None, rng)
    queries = recall.disturbed(vectors, _QUERIES.value, rng)
    seconds, true = _timed(lambda: recall.nearest(vectors, queries, _K))
    print(f"brute force with numpy, vectors in memory: {seconds:.1f} s for {_QUERIES.value} queries")
    with tempfile.TemporaryDirectory() as folder:
        places = {"embedded": lambda: contextlib.nullcontext(f"{folder}/faces.db")}
        places["server"] = lambda: (
            contextlib.nullcontext(_URI.value) if _URI.value else local_server.serve(f"{folder}/data")
        )
        columns = {}
        for name in _PLACES.value:
            with places[name]() as uri:
                columns[name] = measure(uri, vectors, queries, true)
    rows = [[row, *(column[row] for column in columns.values())] for row in next(iter(columns.values()))]
    title = f"{_COUNT.value:,} vectors of {_SIZE.value}, the {_K} nearest of {_QUERIES.value:,} queries"
    print(to_markdown(Table(title, ["", *columns], rows)))
    return 0


def measure(uri: str, vectors, queries, true) -> dict[str, str]:
    """Returns what is measured of the gallery at `uri`, empty so far, by the row's name."""
    from faceflax.models.face_encoder import FaceEncoder
    from faceflax.recognition import recall, records, store
    from faceflax.recognition.gallery import Gallery

    encoder = FaceEncoder("invented", "0", vectors.shape[1], 0, load=dict, embed=lambda params, images: images)
    people = [
        records.Record(f"person {i // 5}", "invented", "0", (f"{i:064d}",), 1.0, "", "", 0) for i in range(len(vectors))
    ]
    places = {record.id: i for i, record in enumerate(people)}
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        if gallery.count():
            raise UserError(f"the gallery {uri} is not empty; choose another --uri")
        add, _ = _timed(lambda: gallery.add(encoder, people, vectors))
        settle, _ = _timed(gallery.settle)
        index = gallery.index
        first, _ = _timed(lambda: gallery.search(queries[:1], _K))
        search, found = _timed(lambda: gallery.search(queries, _K))
        one, _ = _timed(lambda: gallery.search(queries[:1], _K))
    share = recall.overlap([[places[match.record.id] for match in matches] for matches in found], true)
    with store.connect(uri) as opened:
        open_seconds, gallery = _timed(lambda: Gallery(opened))
        delete, _ = _timed(lambda: gallery.delete(records.condition(["person 0"])))
    return {
        "index": index,
        "insert, s": f"{add:.1f}",
        "insert, vectors/s": f"{len(vectors) / add:.0f}",
        "write out and index, s": f"{settle:.1f}",
        "first search, ms": f"{1e3 * first:.0f}",
        "search, all queries in batches, s": f"{search:.2f}",
        "search, ms a query": f"{1e3 * search / len(queries):.2f}",
        "search, one query alone, ms": f"{1e3 * one:.0f}",
        f"recall@{_K}": f"{share:.4f}",
        "open again, s": f"{open_seconds:.1f}",
        "delete a person, leaving no trace, s": f"{delete:.1f}",
    }


def _timed(function: Callable):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _unit(rows):
    import numpy as np

    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    program.run(main)
