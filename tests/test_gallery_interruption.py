"""What a gallery holds after its process ended in the middle of its work: all that was acknowledged, and it works."""

import signal
import subprocess
import sys
import time

import pytest

from faceflax.recognition import indexes, store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, interrupt, names_and_scores, record, unit_vectors


@pytest.mark.parametrize(
    ("step", "after"),
    [("create_alias", None), ("create_index", None), ("load_collection", None), ("create_alias", "load_collection")],
)
def test_a_first_enrolment_interrupted_anywhere_leaves_a_gallery_that_works(uri, monkeypatch, step, after):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        interrupt(monkeypatch, opened, step, after)
        with pytest.raises(KeyboardInterrupt):
            gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        monkeypatch.undo()
    with store.connect(uri) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        gallery.settle()
        assert names_and_scores(gallery.search(unit_vectors(1), 5)[0]) == [("Ann", 1.0)]


@pytest.mark.parametrize("step", ["release_collection", "drop_index", "create_index", "load_collection"])
def test_a_change_of_index_interrupted_anywhere_leaves_a_gallery_that_works(uri, monkeypatch, step):
    vectors = unit_vectors(20)
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record(f"p{i}", str(i)) for i in range(20)], vectors)
        monkeypatch.setattr(indexes, "EXACT_BELOW", 10)
        interrupt(monkeypatch, opened, step, after="flush")
        with pytest.raises(KeyboardInterrupt):
            gallery.settle()
        monkeypatch.setattr(opened, "call", type(opened).call.__get__(opened))
    with store.connect(uri) as opened:
        gallery = Gallery(opened)
        assert gallery.count() == 20
        assert names_and_scores(gallery.search(vectors[3:4], 1)[0]) == [("p3", 1.0)]
        gallery.settle()
        assert gallery.index == "HNSW"
        assert names_and_scores(gallery.search(vectors[3:4], 1)[0]) == [("p3", 1.0)]


ENROL_UNTIL_KILLED = """
import sys
from faceflax.recognition import store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, record, unit_vectors
with store.connect(sys.argv[1], create=True) as opened:
    gallery = Gallery(opened)
    for batch in range(10_000):
        names = [f"{batch}-{i}" for i in range(5)]
        gallery.add(ENCODER, [record(name) for name in names], unit_vectors(5, seed=batch))
        print(*names, flush=True)
        if batch == 20:
            gallery.settle()
"""


@pytest.mark.slow
def test_what_was_acknowledged_before_a_kill_is_there(tmp_path):
    uri = str(tmp_path / "faces.db")
    command = [sys.executable, "-c", ENROL_UNTIL_KILLED, uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [process.stdout.readline() for _ in range(40)]
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    names = " ".join(acknowledged).split()
    assert len(names) >= 200
    with store.connect(uri) as opened:
        gallery = Gallery(opened)
        assert {each.name for each in gallery.records()} >= set(names)
        last = int(names[-1].partition("-")[0])
        (found,) = gallery.search(unit_vectors(5, seed=last)[:1], 1)
        assert names_and_scores(found) == [(f"{last}-0", 1.0)]
