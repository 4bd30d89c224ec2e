"""Two processes at one gallery on a server: whatever comes between the steps of one, no record of the other is lost."""

import pytest

from faceflax.errors import UserError
from faceflax.recognition import records, store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, record, unit_vectors

STEPS = ["create_collection", "delete", "query_iterator", "upsert", "flush", "create_alias", "drop_collection"]


@pytest.fixture
def two(server):
    """Two galleries at one place, with twelve people, and the store of the first."""
    with store.connect(server) as opened, store.connect(server) as other:
        for name in opened.call("list_collections"):
            opened.call("drop_collection", name)
        first = Gallery(opened)
        first.add(ENCODER, [record(f"p{i}", str(i)) for i in range(12)], unit_vectors(12))
        yield first, Gallery(other), opened


def before(monkeypatch, opened, step, act):
    """Lets `act` happen before the store's first call of `step` from here on."""
    call, left = opened.call, [act]

    def interrupted(method, *arguments, **options):
        if method == step and left:
            left.pop()()
        return call(method, *arguments, **options)

    monkeypatch.setattr(opened, "call", interrupted)
    return left


def names(gallery):
    return sorted(each.name for each in gallery.records())


EVERYBODY = {f"p{i}" for i in range(12)}


@pytest.mark.parametrize("step", STEPS)
def test_two_deletions_at_one_time_delete_both_and_nobody_else(two, server, monkeypatch, step):
    first, second, opened = two
    left = before(monkeypatch, opened, step, lambda: second.delete(records.condition(["p7"])))
    assert first.delete(records.condition(["p5"])) == 1
    assert not left
    with store.connect(server) as fresh:
        assert names(Gallery(fresh)) == names(first) == sorted(EVERYBODY - {"p5", "p7"})
        assert len(fresh.call("list_collections")) == 1


@pytest.mark.parametrize("step", STEPS)
def test_who_is_enrolled_during_a_deletion_stays(two, server, monkeypatch, step):
    first, second, opened = two
    left = before(monkeypatch, opened, step, lambda: second.add(ENCODER, [record("new")], unit_vectors(1, seed=3)))
    assert first.delete(records.condition(["p5"])) == 1
    assert not left
    second.add(ENCODER, [record("later")], unit_vectors(1, seed=4))  # it had opened what is not there any more
    with store.connect(server) as fresh:
        assert names(Gallery(fresh)) == sorted(EVERYBODY - {"p5"} | {"new", "later"})


def test_a_deletion_of_nobody_leaves_the_copy_of_another_alone(two, monkeypatch):
    first, second, opened = two
    left = before(monkeypatch, opened, "create_alias", lambda: second.delete(records.condition(["nobody"])))
    assert first.delete(records.condition(["p5"])) == 1 and not left
    assert names(first) == sorted(EVERYBODY - {"p5"})
    before(monkeypatch, opened, "create_collection", lambda: pytest.fail("what is whole was written anew"))
    assert first.delete(records.condition(["nobody"])) == 0


def test_two_first_enrolments_become_one_gallery(two, server, monkeypatch):
    _, _, opened = two
    for name in opened.call("list_collections"):
        opened.call("drop_collection", name)
    first = Gallery(opened)
    with store.connect(server) as other:
        second = Gallery(other)

        def act():
            second.add(ENCODER, [record("Bob")], unit_vectors(1, seed=1))
            with store.connect(server) as reader:  # who only looks changes nothing
                assert names(Gallery(reader)) == ["Bob"]

        before(monkeypatch, opened, "create_alias", act)
        first.add(ENCODER, [record("Ann")], unit_vectors(1))
        assert names(first) == names(second) == ["Ann", "Bob"]
        assert len(opened.call("list_collections")) == 1


def test_an_update_during_a_deletion_says_so_and_brings_nobody_back(two, monkeypatch):
    first, second, opened = two
    monkeypatch.setattr(Gallery, "settle", lambda gallery: None)
    before(monkeypatch, opened, "upsert", lambda: second.delete(records.condition(["p5"])))
    with pytest.raises(UserError, match="another process deleted from the gallery"):
        first.update(records.condition(["p7"]), lambda each: each)
    assert names(second) == sorted(EVERYBODY - {"p5"})
