"""Two processes at one gallery on a server: one writes at a time, whatever becomes of it, and both effects hold."""

import threading

import pytest

from faceflax.errors import UserError
from faceflax.recognition import records, store, turn
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery
from tests import commands, crowd
from tests.galleries import ENCODER, collections_of, empty, record, unit_vectors

EVERYBODY = {f"p{i}" for i in range(12)}
P5, P7 = records.condition(["p5"]), records.condition(["p7"])
STEPS = ["create_collection", "delete", "query_iterator", "upsert", "flush", "alter_alias", "drop_collection"]


class Killed(BaseException):
    pass


@pytest.fixture
def two(server, monkeypatch):
    """Two galleries at one place with twelve people, and their stores."""
    monkeypatch.setattr(turn, "LOOK", 0.02)
    empty(server)
    with store.connect(server) as opened, store.connect(server) as other:
        first = Gallery(opened)
        first.add(ENCODER, [record(f"p{i}", str(i)) for i in range(12)], unit_vectors(12))
        yield first, Gallery(other), opened, other


def before(monkeypatch, opened, step, act):
    """Lets `act` happen before the store's first call of `step`, once this process has the turn."""
    call, done = opened.call, set()

    def watched(method, *arguments, **options):
        if method == step and "load_collection" in done and "act" not in done:
            done.add("act")
            act()
        done.add(method)
        return call(method, *arguments, **options)

    monkeypatch.setattr(opened, "call", watched)
    return done


def dies(monkeypatch, opened, step):
    """As `before`: there the process dies, and calls nothing any more."""

    def dead(method, *arguments, **options):
        if threading.current_thread() is threading.main_thread():
            raise Killed
        raise UserError("dead")

    def act():
        monkeypatch.setattr(opened, "call", dead)
        raise Killed

    return before(monkeypatch, opened, step, act)


def names(gallery):
    return sorted(each.name for each in gallery.records())


def enrol(gallery, name="new", **changes):
    gallery.add(ENCODER, [record(name, **changes)], unit_vectors(1, seed=3))


def test_of_many_who_want_the_turn_one_has_it(server):
    empty(server)
    held, numbers = [], []

    def work():
        with store.connect(server) as opened:
            for _ in range(3):
                with turn.take(opened, lambda sentence: None) as mine:
                    held.append(mine)
                    assert held == [mine] and mine.is_own()
                    numbers.append(mine.number)
                    held.remove(mine)

    workers = [threading.Thread(target=work) for _ in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn, "LOOK", 0.01)
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert numbers == list(range(1, 13))


@pytest.mark.parametrize("step", STEPS)
def test_after_the_death_of_who_deletes_another_goes_on(two, server, monkeypatch, step):
    first, second, opened, other = two
    monkeypatch.setattr(turn, "SILENCE", 5)
    second.add(ENCODER, [record("late")], unit_vectors(1, seed=8))
    dies(monkeypatch, opened, step)
    with pytest.raises(Killed):
        first.delete(P5)
    kept = EVERYBODY | {"late"} if step in ("create_collection", "delete") else (EVERYBODY | {"late"}) - {"p5"}
    with store.connect(server) as fresh:
        assert set(names(Gallery(fresh))) == kept  # who reads waits for nobody
    said = []
    second._say = said.append
    enrol(second)
    assert said == [f"waiting for another process that writes to {server}"]
    assert names(second) == sorted(kept | {"new"}) and len(collections_of(other)) == 1
    assert second.delete(P7) == 1 and second.delete(P5) == len(kept & {"p5"})
    with store.connect(server) as fresh:
        assert names(Gallery(fresh)) == sorted(kept - {"p5", "p7"} | {"new"})


@pytest.mark.parametrize("step", ["create_alias", "describe_alias"])
def test_after_the_death_of_who_takes_the_turn_another_has_it(two, monkeypatch, step):
    first, second, opened, other = two
    monkeypatch.setattr(turn, "SILENCE", 5)
    done = dies(monkeypatch, opened, step)
    done.add("load_collection")
    with pytest.raises(Killed):
        first.delete(P5)
    enrol(second)
    assert names(second) == sorted(EVERYBODY | {"new"})
    assert len(other.call("list_collections")) == 2 and len(collections_of(other)) == 1


def test_notes_changed_before_a_death_stay(two, monkeypatch):
    first, second, opened, _ = two
    monkeypatch.setattr(turn, "SILENCE", 5)
    second.add(ENCODER, [record("p3", "3", consent="withdrawn")], unit_vectors(12)[3:4], replaces=True)
    dies(monkeypatch, opened, "drop_collection")
    with pytest.raises(Killed):
        first.delete(P5)
    second.settle()
    assert [each.consent for each in second.records(records.condition(["p3"]))] == ["withdrawn"]


ACTS = {
    "delete": (lambda gallery: gallery.delete(P7), EVERYBODY - {"p5", "p7"}),
    "enrol": (enrol, EVERYBODY - {"p5"} | {"new"}),
    "enrol again": (lambda gallery: enrol(gallery, "p5"), EVERYBODY),
    "update": (lambda gallery: gallery.update("", lambda each: each), EVERYBODY - {"p5"}),
    "settle": (Gallery.settle, EVERYBODY - {"p5"}),
}


@pytest.mark.parametrize(
    ("step", "act"),
    [
        ("create_collection", "enrol"),
        ("alter_alias", "enrol"),
        ("drop_collection", "enrol"),
        *(("upsert", act) for act in ACTS),
    ],
)
def test_the_second_waits_until_the_first_has_deleted(two, server, monkeypatch, step, act):
    first, second, opened, other = two
    do, expected = ACTS[act]
    waits, order = threading.Event(), []
    second._say = lambda sentence: waits.set()
    worker = threading.Thread(target=lambda: (do(second), order.append("second")))
    done = before(monkeypatch, opened, step, lambda: (worker.start(), waits.wait(60)))
    assert first.delete(P5) == 1
    order.append("first")
    worker.join()
    assert waits.is_set() and "act" in done and order == ["first", "second"]
    with store.connect(server) as fresh:
        assert names(Gallery(fresh)) == names(first) == names(second) == sorted(expected)
    assert len(collections_of(other)) == 1


def test_two_first_enrolments_become_one_gallery(two, server, monkeypatch):
    _, _, opened, other = two
    empty(server)
    first, second, waits = Gallery(opened), Gallery(other), threading.Event()
    second._say = lambda sentence: waits.set()
    worker = threading.Thread(target=lambda: enrol(second, "Bob"))
    before(monkeypatch, opened, "create_alias", lambda: (worker.start(), waits.wait(60)))
    enrol(first, "Ann")
    worker.join()
    assert waits.is_set() and names(first) == names(second) == ["Ann", "Bob"] and len(collections_of(other)) == 1


def test_who_is_at_work_is_not_taken_for_dead_and_who_waits_gives_up_in_the_end(two, server, monkeypatch):
    first, second, _, other = two
    for name, value in (("BEAT", 0.02), ("LOOK", 0.1), ("SILENCE", 10), ("PATIENCE", 2)):
        monkeypatch.setattr(turn, name, value)
    with first.writing():
        with pytest.raises(UserError, match=f"^other processes write to {server} without end; try again when they"):
            second.delete(P5)
        enrol(first)
    assert names(second) == sorted(EVERYBODY | {"new"})
    assert second.delete(P5) == 1


@pytest.mark.parametrize("step", ["create_collection", "delete", "upsert", "alter_alias"])
def test_who_was_suspended_ends_and_changes_nothing(two, server, monkeypatch, step):
    first, second, opened, other = two
    monkeypatch.setattr(turn, "SILENCE", 3)
    monkeypatch.setattr(turn, "BEAT", 1000)

    def meanwhile():
        second.delete(P7)
        enrol(second)

    before(monkeypatch, opened, step, meanwhile)
    with pytest.raises(UserError, match=f"^this process stood still for so long that another has written to {server}"):
        first.delete(P5)
    expected = EVERYBODY - {"p7"} - ({"p5"} if STEPS.index(step) > STEPS.index("delete") else set()) | {"new"}
    assert names(first) == names(second) == sorted(expected)
    second.settle()
    assert len(collections_of(other)) == 1 and names(second) == sorted(expected)


READINGS = {
    "query": lambda gallery: gallery.count(),
    "query_iterator": lambda gallery: len(names(gallery)),
    "search": lambda gallery: len(gallery.search(unit_vectors(1), 12)[0]),
    "describe_index": lambda gallery: len(gallery.search_people(unit_vectors(1), 12)[0]),
}


@pytest.mark.parametrize("step", READINGS)
def test_readers_see_everybody_while_the_gallery_moves(two, monkeypatch, step):
    first, second, _, other = two
    done = before(monkeypatch, other, step, lambda: first.delete(P5))
    done.add("load_collection")
    assert READINGS[step](second) == 11 and "act" in done


def test_a_long_reading_goes_on_where_it_was(two, monkeypatch):
    first, second, _, _ = two
    monkeypatch.setattr(store, "_PAGE", 3)
    reading = second.records()
    read = [next(reading).name for _ in range(3)]
    last = min(EVERYBODY - set(read))
    assert first.delete(records.condition([last])) == 1
    read += [each.name for each in reading]
    assert sorted(read) == sorted(EVERYBODY - {last})


def test_a_database_that_refuses_to_drop_what_has_an_alias_is_obeyed(two, server, monkeypatch):
    """As Milvus does since 2.5.5. It compacts: what is deleted is not copied."""
    first, second, opened, _ = two
    call, called = opened.call, []

    def strict(method, *arguments, **options):
        called.append(method)
        if method == "drop_collection" and call("list_aliases", *arguments)["aliases"]:
            raise UserError("cannot drop a collection that has an alias")
        return None if method == "compact" else call(method, *arguments, **options)

    monkeypatch.setattr(opened, "call", strict)
    assert first.delete(P5) == 1
    opened.compacts = True
    called.clear()
    assert first.delete(P7) == 1 and first.update("", lambda each: each) == 10
    assert called.count("compact") == 2 and "alter_alias" not in called
    assert names(second) == sorted(EVERYBODY - {"p5", "p7"}) and len(collections_of(opened)) == 1


@pytest.mark.usefixtures("invented")
def test_equal_files_are_one_row_of_a_batch(tmp_path, uri, monkeypatch):
    """Milvus refuses a batch that holds a key twice; before it did, it kept both rows."""
    call = store.Store.call

    def strict(opened, method, *arguments, **options):
        if method == "upsert":
            keys = [row["id"] for row in arguments[1]]
            if len(set(keys)) < len(keys):
                raise UserError("duplicate primary keys are not allowed in the same batch")
        return call(opened, method, *arguments, **options)

    monkeypatch.setattr(store.Store, "call", strict)
    files = [crowd.face(tmp_path / "Ann" / name, 1) for name in ("0.png", "copy.png")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert commands.run("enroll", tmp_path / "Ann", "--aligned", "--gallery", uri) == 0
    with store.connect(uri) as opened:
        assert names(Gallery(opened)) == ["Ann"]


@pytest.mark.usefixtures("invented")
def test_who_is_deleted_while_photographs_are_embedded_does_not_come_back(tmp_path, server, monkeypatch):
    empty(server)
    words = ("enroll", "--name", "Ann", "--average", "--aligned", "--gallery", server)
    two = [crowd.face(tmp_path / f"{i}.png", 1, i) for i in (1, 2)]
    assert commands.run(*words, "--consent", "letter of May", *two) == 0
    embed = session.embed

    def slow(*arguments):
        faces = list(embed(*arguments))
        with store.connect(server) as other:
            assert Gallery(other).delete(records.condition(["Ann"])) == 1
        yield from faces

    monkeypatch.setattr(session, "embed", slow)
    assert commands.run(*words, crowd.face(tmp_path / "3.png", 1, 3)) == 0
    with store.connect(server) as opened:
        (ann,) = Gallery(opened).records()
    assert (len(ann.sources), ann.length, ann.consent) == (1, pytest.approx(1), "")
