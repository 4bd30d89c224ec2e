"""The gallery: what is enrolled is found, what is deleted is gone, embedded and behind a server."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet
import pytest

from experiments import local_server
from faceflax.errors import UserError
from faceflax.recognition import indexes, records, store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, record, unit_vectors


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with local_server.serve(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture(params=["embedded", "server"])
def uri(request, tmp_path):
    if request.param == "embedded":
        return str(tmp_path / "faces.db")
    uri = request.getfixturevalue("server")
    with store.connect(uri) as opened:
        for name in opened.call("list_collections"):
            opened.call("drop_collection", name)
    return uri


def names_and_scores(matches):
    return [(match.record.name, round(match.score, 5)) for match in matches]


def test_search_agrees_with_brute_force_before_and_after_opening_again(uri):
    vectors, queries = unit_vectors(300), unit_vectors(20, seed=1)
    enrolled = [record(f"person {i // 3}", str(i)) for i in range(300)]
    cosines = queries @ vectors.T
    expected = [
        [(enrolled[i].name, round(float(row[i]), 5)) for i in np.argsort(-row)[:7]] for row in cosines.astype(float)
    ]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, enrolled, vectors)
        found = [names_and_scores(each) for each in gallery.search(queries, 7)]
    with store.connect(uri) as opened:
        again = [names_and_scores(each) for each in Gallery(opened).search(queries, 7)]
        kept = sorted(Gallery(opened).records(), key=lambda each: int(each.sources[0]))
    for answers in (found, again):
        assert [[name for name, _ in each] for each in answers] == [[name for name, _ in each] for each in expected]
        np.testing.assert_allclose(
            [[score for _, score in each] for each in answers],
            [[score for _, score in each] for each in expected],
            atol=2e-5,
        )
    assert kept == enrolled


def test_people_are_found_whatever_number_of_photographs_they_have(uri):
    near, far = unit_vectors(2)
    crowd = near + 0.01 * unit_vectors(200, seed=3)
    vectors = np.concatenate([crowd / np.linalg.norm(crowd, axis=1, keepdims=True), [far]])
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann" if i < 200 else "Bob", str(i)) for i in range(201)], vectors)
        (found,) = gallery.search_people(near[None], 3)
        assert [match.record.name for match in found] == ["Ann", "Bob"]
        assert found[0].score == pytest.approx(np.max(vectors @ near), abs=1e-5)


@pytest.mark.parametrize("name", ['O"Hara', "back\\slash", "Zoë 😀", "' or 1 == 1 or '", "می‌خواهم", "a and b", "%"])
def test_conditions_choose_exactly(tmp_path, name):
    with store.connect(str(tmp_path / "faces.db"), create=True) as opened:
        gallery = Gallery(opened)
        people = [
            record(name, "1", metadata={"site": name}),
            record("Bob", "2", consent="by letter"),
            record("Eve", "3"),
        ]
        gallery.add(ENCODER, people, unit_vectors(3))
        chosen = lambda *arguments, **options: [  # noqa: E731
            each.name for each in gallery.records(records.condition(*arguments, **options))
        ]
        assert chosen([name]) == [name]
        assert chosen(where={"site": name}) == [name]
        assert chosen(where={"consent": "by letter"}) == ["Bob"]
        assert sorted(chosen([name, "Eve"])) == sorted([name, "Eve"])
        assert chosen([name], {"site": "elsewhere"}) == []
        assert (
            gallery.search(unit_vectors(1, seed=5), 9, records.condition(where={"site": name}))[0][0].record.name
            == name
        )
        assert gallery.delete(records.condition([name])) == 1
        assert sorted(each.name for each in gallery.records()) == ["Bob", "Eve"]


def test_a_photograph_enrolled_again_takes_its_record_s_place(uri):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        for consent, vector in zip(("none yet", "signed"), unit_vectors(2), strict=True):
            gallery.add(ENCODER, [record("Ann", consent=consent)], vector[None])
        assert [each.consent for each in gallery.records()] == ["signed"]
        (found,) = gallery.search(unit_vectors(2)[1:], 5)
        assert names_and_scores(found) == [("Ann", 1.0)]


@pytest.mark.parametrize("changes", [{"name": "other"}, {"version": "11111111"}])
def test_vectors_of_two_encoders_do_not_mix(uri, changes):
    other = dataclasses.replace(ENCODER, **changes)
    with store.connect(uri, create=True) as opened:
        Gallery(opened).add(ENCODER, [record("Ann")], unit_vectors(1))
        gallery = Gallery(opened)
        for use in (lambda: gallery.check(other), lambda: gallery.add(other, [record("Bob")], unit_vectors(1))):
            with pytest.raises(
                UserError, match=r"holds vectors of invented \(version 00c0ffee\), which cannot be comp"
            ):
                use()
        assert [each.name for each in gallery.records()] == ["Ann"]


def bytes_below(folder):
    """All that the gallery's files hold, also unpacked."""
    found = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for path in folder.rglob("*.parquet"):
        table = pyarrow.parquet.read_table(path)
        for name in {"name", "vector"} & set(table.column_names):
            values = table[name].to_pylist()
            found += b"".join(
                value.encode() if isinstance(value, str) else np.array(value, np.float32).tobytes() for value in values
            )
    return found


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
        call, done = opened.call, []

        def interrupted(method, *arguments, **options):
            if method == step and (step != "drop_collection" or "alter_alias" in done):
                raise KeyboardInterrupt
            done.append(method)
            return call(method, *arguments, **options)

        monkeypatch.setattr(opened, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gallery.delete(records.condition(["p5"]))
        monkeypatch.undo()
    with store.connect(str(folder)) as opened:
        gallery = Gallery(opened)
        people = {each.name for each in gallery.records()}
        assert people >= {f"p{i}" for i in range(12)} - {"p5"}
        if step in ("upsert", "alter_alias", "drop_collection"):  # the deletion itself had been done
            assert "p5" not in people and vectors[5].tobytes() not in bytes_below(folder)
        assert len(opened.call("list_collections")) == 1
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
            interrupt(monkeypatch, opened, step, after="upsert" if step == "drop_collection" else None)
            with pytest.raises(KeyboardInterrupt):
                gallery.delete(p5)
            monkeypatch.undo()
        assert vectors[5].tobytes() in bytes_below(tmp_path / "data")
        with store.connect(uri) as opened:
            gallery = Gallery(opened)
            if step == "upsert":  # the copy is begun, and could be another process's: this one's deletion replaces it
                assert len(opened.call("list_collections")) == 2 and gallery.delete(p5) == 0
            held = bytes_below(tmp_path / "data")
            assert vectors[5].tobytes() not in held and vectors[4].tobytes() in held
            assert len(opened.call("list_collections")) == 1
            assert {each.name for each in gallery.records()} == {f"p{i}" for i in range(12)} - {"p5"}


def interrupt(monkeypatch, opened, step, after=None):
    """From here on, or from a call of `after` on, the store is killed where it would call `step`."""
    call, done = opened.call, [None]

    def interrupted(method, *arguments, **options):
        if method == step and after in done:
            raise KeyboardInterrupt
        done.append(method)
        return call(method, *arguments, **options)

    monkeypatch.setattr(opened, "call", interrupted)


@pytest.mark.parametrize("step", ["create_index", "load_collection", "create_alias"])
def test_a_first_enrolment_interrupted_anywhere_leaves_a_gallery_that_works(uri, monkeypatch, step):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        interrupt(monkeypatch, opened, step)
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
        interrupt(monkeypatch, opened, step)
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


def test_the_folder_is_its_owner_s_alone_from_the_first_moment(tmp_path, monkeypatch):
    made = []
    mkdir = os.mkdir

    def watched(path, mode=0o777, **options):
        mkdir(path, mode, **options)
        made.append((os.fspath(path), Path(path).stat().st_mode & 0o777))

    monkeypatch.setattr(os, "mkdir", watched)
    old = os.umask(0)
    try:
        with store.connect(str(tmp_path / "new" / "faces.db"), create=True):
            assert (str(tmp_path / "new" / "faces.db"), 0o700) in made
    finally:
        os.umask(old)
    assert (tmp_path / "new" / "faces.db").stat().st_mode & 0o777 == 0o700
    (tmp_path / "empty.db").mkdir(mode=0o755)
    with store.connect(str(tmp_path / "empty.db"), create=True):
        assert (tmp_path / "empty.db").stat().st_mode & 0o777 == 0o700


def test_no_port_is_opened_for_an_embedded_gallery(tmp_path):
    listening = lambda: {c.laddr for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"}  # noqa: E731
    before = listening()
    with store.connect(str(tmp_path / "faces.db"), create=True):
        assert listening() == before


def test_a_gallery_in_use_is_one_sentence(tmp_path):
    uri = str(tmp_path / "faces.db")
    with store.connect(uri, create=True):
        command = [sys.executable, "-c", f"from faceflax.recognition import store; store.connect({uri!r})"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("is in use by another process; try again when that has ended")
    with store.connect(uri):
        pass


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no gallery .*; faceflax enroll --gallery .* makes one"),
        (lambda path: path.write_text("a file"), "is no gallery"),
        (lambda path: (path / "photographs").mkdir(parents=True), "is no gallery"),
    ],
)
def test_what_is_no_gallery_is_left_alone(tmp_path, make, sentence):
    path = tmp_path / "faces.db"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        store.connect(str(path))
    if before:
        with pytest.raises(UserError, match=sentence):
            store.connect(str(path), create=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("address", ["http://[bad", "http://host:port", "http://host:0", "ftp://host", "http://"])
def test_what_is_no_address_is_one_sentence(address):
    with pytest.raises(UserError, match=r"is no address of a server; write http://host:port or a file's name"):
        store.connect(address)
    with pytest.raises(UserError, match="holds credentials") as caught:
        store.connect("http://root:secret@[bad")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_down_is_asked_three_times(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(store, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setenv(store.TOKEN, "root:secret")
    with pytest.raises(UserError) as caught:
        store.connect("http://127.0.0.1:1")
    assert str(caught.value) == (
        "the gallery server http://127.0.0.1:1 did not answer in 3 attempts; start it, or correct --gallery"
    )
    assert waits[-2:] == [1, 2]


def test_a_server_that_goes_away_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_SECONDS", 2)
    with local_server.serve(tmp_path / "data") as uri:
        opened = store.connect(uri)
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
    with pytest.raises(UserError, match=f"the gallery {uri} did not do as asked: .*"):
        gallery.add(ENCODER, [record("Bob")], unit_vectors(1))


def test_the_token_goes_to_the_server_and_nowhere_else(monkeypatch, capfd):
    given = []
    monkeypatch.setenv(store.TOKEN, "root:secret")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def refuse(uri, token):
        from pymilvus import MilvusException

        given.append(token)
        raise MilvusException(message=f"no route for {token}")

    monkeypatch.setattr(store, "_client", refuse)
    with pytest.raises(UserError) as caught:
        store.connect("http://127.0.0.1:9")
    assert given == ["root:secret"] * 3
    assert "secret" not in str(caught.value) + "".join(capfd.readouterr())
    with pytest.raises(UserError, match=r"holds credentials, .* \$FACEFLAX_GALLERY_TOKEN") as caught:
        store.connect("http://root:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_large_gallery_is_searched_by_a_graph(uri, monkeypatch):
    monkeypatch.setattr(indexes, "EXACT_BELOW", 1000)
    vectors = unit_vectors(1200)
    people = [record(f"p{i}", str(i)) for i in range(1200)]
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, people[:900], vectors[:900])
        gallery.settle()
        assert gallery.index == "FLAT"
        gallery.add(ENCODER, people[900:], vectors[900:])
        gallery.settle()
        assert gallery.index == "HNSW"
    with store.connect(uri) as opened:
        gallery = Gallery(opened)
        queries = unit_vectors(50, seed=2)
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
        found = [{int(match.record.name[1:]) for match in each} for each in gallery.search(queries, 10)]
        recall = np.mean([len(set(row) & each) / 10 for row, each in zip(exact.tolist(), found, strict=True)])
        assert recall > 0.95
        assert gallery.delete(records.condition(["p3"])) == 1
        assert gallery.index == "HNSW" and gallery.count() == 1199


def test_an_empty_gallery_answers(uri):
    with store.connect(uri, create=True) as opened:
        gallery = Gallery(opened)
        assert gallery.encoder is None and gallery.count() == 0 and gallery.delete("") == 0
        assert list(gallery.records()) == [] and gallery.search_people(unit_vectors(2), 3) == [[], []]
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        assert gallery.delete(records.condition(["Ann"])) == 1
        assert gallery.count() == 0 and gallery.search_people(unit_vectors(2), 3) == [[], []]


def test_names_that_cannot_be_kept_are_refused():
    for name in ("", "  ", "a\nb", "a\0b", "\udcff", "x" * 257):
        with pytest.raises(UserError):
            records.check_name(name)
    assert records.check_name("می‌خواهم Zoë") == "می‌خواهم Zoë"
    with pytest.raises(UserError, match=r"--set 'site' is not KEY=VALUE"):
        records.parse_pairs("--set", ["site"])
