"""What is deleted from a gallery is gone from its files, also where the deletion was interrupted."""

import dataclasses

import numpy as np
import pytest

from experiments import local_server
from faceflax.recognition import records, store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, bytes_below, collections_of, interrupt, record, unit_vectors


@pytest.mark.parametrize("settled", [False, True])
def test_deletion_leaves_no_trace_in_any_file(tmp_path, settled):
    folder = tmp_path / "faces.db"
    vectors = unit_vectors(40)
    secret, kept = vectors[7].tobytes(), vectors[8].tobytes()
    with store.connect(str(folder), create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Gone Person" if i == 7 else f"p{i}", str(i)) for i in range(40)], vectors)
        if settled:
            gallery.settle()
        assert secret in bytes_below(folder) and b"Gone Person" in bytes_below(folder)
        assert gallery.delete(records.condition(["Gone Person"])) == 1
        held = bytes_below(folder)
        assert secret not in held and b"Gone Person" not in held and kept in held
        assert gallery.count() == 39
        assert "Gone Person" not in {m.record.name for m in gallery.search(vectors[7:8], 39)[0]}
    held = bytes_below(folder)
    assert secret not in held and b"Gone Person" not in held and kept in held


def test_what_was_replaced_leaves_no_trace_either(tmp_path, monkeypatch):
    folder, (old, new, other) = tmp_path / "faces.db", unit_vectors(3)
    with store.connect(str(folder), create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann"), record("Bob")], np.stack([old, other]))
        gallery.settle()
        gallery.update(records.condition(["Bob"]), lambda each: dataclasses.replace(each, purpose="a secret purpose"))
        assert b"a secret purpose" in bytes_below(folder)
        gallery.update(records.condition(["Bob"]), lambda each: dataclasses.replace(each, purpose=""))
        assert b"a secret purpose" not in bytes_below(folder)
        gallery.add(ENCODER, [record("Ann")], new[None], replaces=True)
        assert old.tobytes() in bytes_below(folder)
        interrupt(monkeypatch, opened, "upsert")
        with pytest.raises(KeyboardInterrupt):
            gallery.settle()
        monkeypatch.undo()
    with store.connect(str(folder)) as opened:
        assert {each.name for each in Gallery(opened).records()} == {"Ann", "Bob"}
        held = bytes_below(folder)
        assert old.tobytes() not in held and new.tobytes() in held and other.tobytes() in held
        assert len(collections_of(opened)) == 1


@pytest.mark.slow
def test_deletion_on_the_server_leaves_no_trace_either(tmp_path):
    vectors = unit_vectors(10)
    with local_server.serve(tmp_path / "data") as uri, store.connect(uri) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record(f"p{i}", str(i)) for i in range(10)], vectors)
        assert vectors[3].tobytes() in bytes_below(tmp_path / "data")
        assert gallery.delete(records.condition(["p3"])) == 1
        held = bytes_below(tmp_path / "data")
        assert vectors[3].tobytes() not in held and vectors[4].tobytes() in held


@pytest.mark.parametrize("step", ["create_collection", "delete", "upsert", "alter_alias", "drop_collection"])
def test_a_deletion_interrupted_anywhere_is_completed_when_the_gallery_is_opened_again(tmp_path, monkeypatch, step):
    folder, vectors = tmp_path / "faces.db", unit_vectors(12)
    with store.connect(str(folder), create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record(f"p{i}", str(i)) for i in range(12)], vectors)
        interrupt(monkeypatch, opened, step)
        with pytest.raises(KeyboardInterrupt):
            gallery.delete(records.condition(["p5"]))
        monkeypatch.undo()
    with store.connect(str(folder)) as opened:
        gallery = Gallery(opened)
        people = {each.name for each in gallery.records()}
        assert people >= {f"p{i}" for i in range(12)} - {"p5"}
        if step in ("upsert", "alter_alias", "drop_collection"):  # the deletion itself had been done
            assert "p5" not in people and vectors[5].tobytes() not in bytes_below(folder)
        assert len(collections_of(opened)) == 1
        gallery.add(ENCODER, [record("new")], unit_vectors(1, seed=9))
        assert gallery.count() == len(people) + 1


@pytest.mark.parametrize("step", ["upsert", "drop_collection"])
def test_a_deletion_interrupted_on_the_server_is_completed_as_well(tmp_path, monkeypatch, step):
    vectors, p5 = unit_vectors(12), records.condition(["p5"])
    with local_server.serve(tmp_path / "data") as uri:
        with store.connect(uri) as opened:
            gallery = Gallery(opened)
            gallery.add(ENCODER, [record(f"p{i}", str(i)) for i in range(12)], vectors)
            gallery.settle()
            interrupt(monkeypatch, opened, step, after="query")
            with pytest.raises(KeyboardInterrupt):
                gallery.delete(p5)
            monkeypatch.undo()
        assert vectors[5].tobytes() in bytes_below(tmp_path / "data")
        with store.connect(uri) as opened:
            gallery = Gallery(opened)
            assert len(collections_of(opened)) == 2 and gallery.delete(p5) == 0
            held = bytes_below(tmp_path / "data")
            assert vectors[5].tobytes() not in held and vectors[4].tobytes() in held
            assert len(collections_of(opened)) == 1
            assert {each.name for each in gallery.records()} == {f"p{i}" for i in range(12)} - {"p5"}
