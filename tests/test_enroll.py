"""faceflax enroll: who is put into the gallery, with which notes, and what becomes of those who were there."""

import dataclasses
import hashlib
import shutil
import signal

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery
from tests import crowd
from tests.commands import run
from tests.crowd import face, json_lines
from tests.galleries import bytes_below

pytestmark = pytest.mark.usefixtures("invented")
SAID = "a folder in a folder is one person, by its own name: Ann, Bob, Zoë\n"


def test_bad_files_are_named_and_the_rest_is_done(tmp_path, people, capsys):
    (people / "Bob" / "broken.png").write_bytes((people / "Bob" / "0.png").read_bytes()[:60])
    (people / "Zoë" / "empty.jpg").touch()
    face(people / "nobody.png", 5)
    assert run("enroll", people, "--aligned", "--gallery", tmp_path / "faces.db") == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{SAID}enrolled 9 of 12 photographs, 3 people")
    assert len(said.err.splitlines()) == 3 and all(
        name in said.err for name in ("broken.png", "empty.jpg", "nobody.png")
    )
    assert (
        run(
            "identify", tmp_path / "none.png", people / "Bob", "--aligned", "--gallery", tmp_path / "faces.db", "--json"
        )
        == 1
    )
    lines = json_lines(capsys)
    assert [line.get("name") for line in lines] == ["Bob", "Bob", "Bob", None]
    assert "error" in lines[3] and lines[3]["file"].endswith("broken.png")


def test_who_is_who_is_asked_for_where_no_folder_says(tmp_path, people, capsys):
    assert run("enroll", people / "Ann" / "0.png", "--aligned", "--gallery", tmp_path / "faces.db") == 1
    assert "say who it is with --name" in capsys.readouterr().err
    assert not (tmp_path / "faces.db").exists()
    assert run("enroll", people / "Ann", "--aligned", "--gallery", tmp_path / "faces.db") == 0
    assert (
        run("enroll", people / "Bob" / "0.png", "--name", "Robert", "--aligned", "--gallery", tmp_path / "faces.db")
        == 0
    )
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", tmp_path / "faces.db", "--json") == 0
    assert [(line["name"], line["photographs"]) for line in json_lines(capsys)] == [("Ann", 3), ("Robert", 1)]
    assert run("enroll", people, "--name", "a\nb", "--aligned", "--gallery", tmp_path / "faces.db") == 1
    assert "control characters" in capsys.readouterr().err


def test_what_is_enrolled_and_what_is_not_is_all_that_was_given(tmp_path, people, capsys):
    """Photographs that are not there and without a name count; other files, and folders of none, are no photographs."""
    (people / "Ann" / "notes.txt").write_text("no photograph")
    (tmp_path / "bare").mkdir()
    one, gone = people / "Ann" / "0.png", tmp_path / "gone.png"
    given = (one, people, face(tmp_path / "7.png", 7), gone, gone, tmp_path / "bare", tmp_path / "*.jpg")
    assert run("enroll", *given, "--aligned", "--gallery", tmp_path / "faces.db") == 1
    said = capsys.readouterr()
    assert said.out == f"{SAID}enrolled 9 of 11 photographs, 3 people, in {tmp_path / 'faces.db'}\n"
    refused = ("7.png: say who it is", "gone.png: no such file", "bare: holds no images", "*.jpg: no image fits")
    assert len(said.err.splitlines()) == 4 and all(each in said.err for each in refused)


def test_a_pattern_names_nobody(tmp_path, people, capsys):
    assert run("enroll", people / "Ann" / "*.png", "--aligned", "--gallery", tmp_path / "faces.db") == 1
    assert capsys.readouterr().err.count("say who it is with --name") == 3
    assert not (tmp_path / "faces.db").exists()


def test_it_is_said_who_bears_the_name_of_which_folder(tmp_path, people, capsys):
    whole, part = (
        f"a folder {what} is one person, by its own name: " for what in ("that holds no folders", "in a folder")
    )
    face(people / "Eve" / "2019" / "0.png", 5)
    for words, first in (
        (("Ann", "Bob"), f"{whole}Ann, Bob\n"),
        (("Ann",), f"{whole}Ann\n"),
        (("Eve",), f"{part}2019\n"),
        (("Ann", "Eve"), f"{whole}Ann\n{part}2019\n"),
    ):
        given = [people / word for word in words]
        assert run("enroll", *given, "--aligned", "--gallery", tmp_path / "faces.db") == 0
        assert capsys.readouterr().out.startswith(f"{first}enrolled ")
    assert run("enroll", people / "Eve", "--name", "Eve", "--aligned", "--gallery", tmp_path / "eve.db") == 0
    assert capsys.readouterr().out.startswith("enrolled ")


def missing():
    raise UserError("the encoder's weights cannot be fetched; mend the network")


def test_an_enrolment_of_nobody_leaves_no_gallery_behind(tmp_path, people, capsys, monkeypatch):
    gallery, broken = tmp_path / "faces.db", tmp_path / "broken.png"
    broken.write_text("not an image")
    enroll = ("enroll", "--name", "Ann", "--aligned", "--gallery", gallery)
    assert run(*enroll, broken) == 1
    assert not gallery.exists()
    own = tmp_path / "own.db"
    own.mkdir()
    assert run(*enroll[:-1], own, broken) == 1
    assert own.is_dir() and not any(own.iterdir())  # what this call did not make stays
    assert run(*enroll, people / "Ann", "--encoder", "none") == 1
    assert "there is no face encoder" in capsys.readouterr().err and not gallery.exists()
    with monkeypatch.context() as patch:
        patch.setitem(crowd.ENCODERS, "faceres", dataclasses.replace(crowd.ENCODERS["faceres"], load=missing))
        assert run(*enroll, people / "Ann") == 1
    assert "cannot be fetched" in capsys.readouterr().err and not gallery.exists()
    assert run(*enroll, people / "Ann" / "0.png") == 0
    assert run(*enroll, broken) == 1  # what others made stays
    capsys.readouterr()
    assert run("gallery", "show", "--gallery", gallery) == 0
    assert [line["name"] for line in json_lines(capsys)] == ["Ann"]


def test_an_average_is_that_of_all_photographs_however_they_come(tmp_path, people, capsys):
    for name, groups in {"once": [range(3)], "twice": [[2], [0, 1], [1]]}.items():
        for shots in groups:
            files = [people / "Ann" / f"{shot}.png" for shot in shots]
            assert run("enroll", *files, "--name", "Ann", "--average", "--aligned", "--gallery", tmp_path / name) == 0
    capsys.readouterr()
    vectors = {}
    for name in ("once", "twice"):
        with session.open_gallery(str(tmp_path / name)) as opened:
            ((records, vectors[name]),) = opened.vectors()
        assert len(records) == 1 and len(records[0].sources) == 3
    np.testing.assert_allclose(vectors["once"], vectors["twice"], atol=1e-6)
    pixels = [cv2.imread(str(people / "Ann" / f"{shot}.png"))[..., ::-1] / np.float32(255) for shot in range(3)]
    mean = np.asarray(crowd.embed({}, jnp.asarray(np.stack(pixels)))).mean(0)
    np.testing.assert_allclose(vectors["once"][0], mean / np.linalg.norm(mean), atol=1e-5)


def shown(capsys, gallery, *words):
    capsys.readouterr()
    assert run("gallery", "show", "--gallery", gallery, *words) == 0
    return json_lines(capsys)


@pytest.mark.parametrize("average", [[], ["--average"]])
def test_who_is_enrolled_again_keeps_the_notes_that_are_not_given_anew(tmp_path, people, capsys, average):
    gallery = tmp_path / "faces.db"
    enroll = ("enroll", *average, "--name", "Ann", "--aligned", "--gallery", gallery)
    notes = ("--consent", "signed", "--purpose", "door", "--set", "site=north", "--set", "floor=2")
    assert run(*enroll, people / "Ann" / "0.png", *notes) == 0
    assert run(*enroll, people / "Ann") == 0
    assert run(*enroll, people / "Ann" / "0.png", "--purpose", "", "--set", "floor=3") == 0
    source = hashlib.sha256((people / "Ann" / "0.png").read_bytes()).hexdigest()
    (record,) = (each for each in shown(capsys, gallery) if source in each["sources"])
    kept = (record["consent"], record["purpose"], record["metadata"])
    assert kept == ("signed", "", {"site": "north", "floor": "3"})


def test_what_enrolment_replaces_leaves_no_trace(tmp_path, people, capsys):
    gallery, enroll = tmp_path / "faces.db", ("enroll", people / "Ann", "--name", "Ann", "--aligned", "--gallery")
    assert run(*enroll, gallery, "--purpose", "a secret purpose") == 0
    assert b"a secret purpose" in bytes_below(gallery)
    assert run(*enroll, gallery, "--purpose", "door") == 0
    assert b"a secret purpose" not in bytes_below(gallery)
    assert {each["purpose"] for each in shown(capsys, gallery)} == {"door"}
    (folder,) = (gallery / "collections").iterdir()
    assert run(*enroll, gallery) == 0
    assert [folder] == list((gallery / "collections").iterdir())  # nothing new: nothing is written anew


@pytest.mark.parametrize(("first", "then"), [([], ["--average"]), (["--average"], [])])
def test_a_person_has_an_average_or_single_vectors(tmp_path, people, capsys, first, then):
    gallery = tmp_path / "faces.db"
    assert run("enroll", people / "Ann", "--aligned", "--gallery", gallery, *first) == 0
    before = shown(capsys, gallery)
    assert run("enroll", people, "--aligned", "--gallery", gallery, *then) == 1
    said = capsys.readouterr()
    assert "--average, or delete Ann there first" in said.err
    assert said.out == f"{SAID}enrolled 6 of 9 photographs, 2 people, in {gallery}\n"
    assert [each for each in shown(capsys, gallery) if each["name"] == "Ann"] == before


def test_a_photograph_that_is_named_twice_is_enrolled_once(tmp_path, people, capsys):
    photograph = people / "Ann" / "0.png"
    assert run("enroll", photograph, people, photograph, "--aligned", "--gallery", tmp_path / "faces.db") == 0
    assert capsys.readouterr().out == f"{SAID}enrolled 9 of 9 photographs, 3 people, in {tmp_path / 'faces.db'}\n"


def test_the_vectors_of_who_is_enrolled_again_are_not_read(gallery, people, monkeypatch):
    """They may be many, and only those in the places of new ones matter."""
    monkeypatch.setattr(Gallery, "vectors", lambda *arguments: pytest.fail("vectors were read"))
    assert run("enroll", people, "--aligned", "--gallery", gallery) == 0


@pytest.mark.parametrize("average", [[], ["--average"]])
@pytest.mark.parametrize("batch_size", ["1", "16"])
def test_what_is_counted_is_what_the_gallery_holds(tmp_path, people, capsys, monkeypatch, average, batch_size):
    """Files in two spellings and by links are one; copies are counted beside, wherever they lie."""
    monkeypatch.chdir(tmp_path)
    (people / "Ann" / "link.png").symlink_to(people / "Ann" / "0.png")
    shutil.copyfile(people / "Bob" / "1.png", people / "Bob" / "copy.png")
    alone = face(tmp_path / "alone.png", 5)
    given = (people, "people", alone, "alone.png", people / "Bob" / ".." / "Ann")
    words = ("--aligned", "--gallery", tmp_path / "faces.db", "--batch-size", batch_size, *average)
    assert run("enroll", *given, *words) == 1
    said = capsys.readouterr()
    assert said.out.endswith(f"enrolled 9 of 11 photographs (1 more is a copy), 3 people, in {tmp_path}/faces.db\n")
    assert len(said.err.splitlines()) == 1 and "alone.png: say who it is" in said.err
    assert sum(len(each["sources"]) for each in shown(capsys, tmp_path / "faces.db")) == 9


def test_a_link_among_another_person_s_photographs_is_refused(tmp_path, people, capsys):
    (people / "Bob" / "link.png").symlink_to(people / "Ann" / "0.png")
    assert run("enroll", people, "--aligned", "--gallery", tmp_path / "faces.db") == 1
    said = capsys.readouterr()
    assert "link.png: the same photograph is enrolled as Ann" in said.err and said.out.startswith(
        f"{SAID}enrolled 9 of 10 "
    )


@pytest.mark.parametrize("average", [[], ["--average"]])
@pytest.mark.parametrize("batch_size", ["1", "16"])
def test_a_photograph_is_of_one_person(tmp_path, uri, people, capsys, average, batch_size):
    """Within one call, whether the two meet in one batch or not, and of what is in the gallery."""
    copy = people / "Bob" / "copy.png"
    shutil.copyfile(people / "Ann" / "1.png", copy)
    words = ("--aligned", "--gallery", uri, "--batch-size", batch_size, *average)
    sentence = f"error: {copy}: the same photograph is enrolled as Ann, and cannot be Bob as well; take it away here"
    assert run("enroll", people, *words) == 1
    said = capsys.readouterr()
    assert said.err.startswith(sentence) and len(said.err.splitlines()) == 1
    assert said.out == f"{SAID}enrolled 9 of 10 photographs, 3 people, in {uri}\n"
    assert run("enroll", copy, "--name", "Bob", *words) == 1
    said = capsys.readouterr()
    assert said.err.startswith(sentence) and said.out == f"enrolled 0 of 1 photographs, 0 people, in {uri}\n"
    assert run("enroll", copy, "--name", "Ann", *words) == 0
    source = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert [line["name"] for line in shown(capsys, uri) if source in line["sources"]] == ["Ann"]


@pytest.fixture
def caught():
    """SIGTERM, where nobody looks after it, ends the test and not the process."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nobody looked after it"))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("caught")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("held", [0, 4])
def test_an_interrupted_enrolment_says_how_far_it_came(tmp_path, people, capsys, monkeypatch, number, status, held):
    add, gallery = Gallery.add, tmp_path / "faces.db"

    def interrupted(opened, *arguments, **options):
        if opened.count() == held:
            signal.raise_signal(number)
        add(opened, *arguments, **options)

    monkeypatch.setattr(Gallery, "add", interrupted)
    assert run("enroll", people, "--aligned", "--gallery", gallery, "--batch-size", "2") == status
    assert capsys.readouterr().out == f"{SAID}enrolled {held} of 9 photographs, {held // 2} people, in {gallery}\n"
    if held:
        assert len(shown(capsys, gallery)) == held
    else:
        assert not gallery.exists()
