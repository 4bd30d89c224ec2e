"""`faceflax enroll`, `identify` and `reconstruct`: names, files, exit codes and sentences."""

import dataclasses
import hashlib

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import local_server
from faceflax.errors import UserError
from faceflax.preprocessing import detection, images, landmarks
from faceflax.preprocessing.detection import Face
from faceflax.recognition.commands import session
from faceflax.recognition.gallery import Gallery
from faceflax.restoration import reconstruct
from tests import crowd
from tests.crowd import face, json_lines, run
from tests.galleries import bytes_below

pytestmark = pytest.mark.usefixtures("invented")


def test_people_are_identified_and_strangers_are_unknown(tmp_path, gallery, capsys):
    files = [face(tmp_path / f"{number}.png", number, 9) for number in (1, 2, 7)]
    assert run("identify", *files, "--aligned", "--gallery", gallery, "--json") == 0
    lines = json_lines(capsys)
    assert [(line["file"], line["name"]) for line in lines] == list(
        zip(map(str, files), ("Bob", "Zoë", None), strict=True)
    )
    assert all(len(line["people"]) == 3 and line["threshold"] == 0.7 for line in lines)
    assert lines[0]["people"][0]["score"] > 0.9 > lines[2]["people"][0]["score"]
    assert run("identify", files[2], "--aligned", "--gallery", gallery, "--top", "1") == 0
    assert capsys.readouterr().out.startswith(f"{files[2]}: unknown (")
    assert run("identify", files[2], "--aligned", "--gallery", gallery, "--threshold", "-1", "--json") == 0
    assert json_lines(capsys)[0]["name"] is not None


def test_a_classifier_names_the_same_people(tmp_path, gallery, capsys):
    files = [face(tmp_path / f"{number}.png", number, 9) for number in (0, 1, 2, 8)]
    assert run("identify", *files, "--aligned", "--gallery", gallery, "--json", "--by", "classifier") == 0
    assert [line["name"] for line in json_lines(capsys)] == ["Ann", "Bob", "Zoë", None]


def test_bad_files_are_named_and_the_rest_is_done(tmp_path, people, capsys):
    (people / "Bob" / "broken.png").write_bytes((people / "Bob" / "0.png").read_bytes()[:60])
    (people / "Zoë" / "empty.jpg").touch()
    face(people / "nobody.png", 5)
    assert run("enroll", people, "--aligned", "--gallery", tmp_path / "faces.db") == 1
    said = capsys.readouterr()
    assert said.out.startswith("enrolled 9 of 11 photographs, 3 people")
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


def test_an_enrolment_of_nobody_leaves_no_gallery_behind(tmp_path, people, capsys, monkeypatch):
    gallery, broken = tmp_path / "faces.db", tmp_path / "broken.png"
    broken.write_text("not an image")
    enroll = ("enroll", "--name", "Ann", "--aligned", "--gallery", gallery)
    assert run(*enroll, broken) == 1
    assert not gallery.exists()
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


def missing():
    raise UserError("the encoder's weights cannot be fetched; mend the network")


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
    assert said.out == f"enrolled 6 of 9 photographs, 2 people, in {gallery}\n"
    assert [each for each in shown(capsys, gallery) if each["name"] == "Ann"] == before


def test_a_photograph_that_is_named_twice_is_enrolled_once(tmp_path, people, capsys):
    photograph = people / "Ann" / "0.png"
    assert run("enroll", photograph, people, photograph, "--aligned", "--gallery", tmp_path / "faces.db") == 0
    assert capsys.readouterr().out == f"enrolled 9 of 9 photographs, 3 people, in {tmp_path / 'faces.db'}\n"


def test_an_interrupted_enrolment_says_how_far_it_came(tmp_path, people, capsys, monkeypatch):
    add, gallery = Gallery.add, tmp_path / "faces.db"

    def interrupted(opened, *arguments, **options):
        if opened.count() == 4:
            raise KeyboardInterrupt
        add(opened, *arguments, **options)

    monkeypatch.setattr(Gallery, "add", interrupted)
    assert run("enroll", people, "--aligned", "--gallery", gallery, "--batch-size", "2") == 130
    assert capsys.readouterr().out == f"enrolled 4 of 9 photographs, 2 people, in {gallery}\n"
    assert len(shown(capsys, gallery)) == 4


def test_every_face_of_a_photograph_is_identified(tmp_path, gallery, people, capsys, monkeypatch):
    party = tmp_path / "party.png"
    pixels = np.hstack([cv2.imread(str(people / name / "1.png")) for name in ("Bob", "Ann")])
    assert cv2.imwrite(str(party), pixels)
    faces = [
        Face(np.array([left, 0, left + 32, 32], np.float64), landmarks.TEMPLATE * 32 + (left, 0), 0.9)
        for left in (0, 32)
    ]
    monkeypatch.setattr(detection, "load_detector", lambda: lambda shown: faces)
    words = (party, "--gallery", gallery)
    assert run("identify", *words, "--json") == 0
    lines = [(line["file"], line["box"], line["name"]) for line in json_lines(capsys)]
    assert lines == [(str(party), [0, 0, 32, 32], "Bob"), (str(party), [32, 0, 64, 32], "Ann")]
    assert run("identify", *words) == 0
    assert [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{party}, face at 0,0 to 32,32: Bob",
        f"{party}, face at 32,0 to 64,32: Ann",
    ]
    assert run("identify", *words, "--largest") == 0
    assert capsys.readouterr().out.startswith(f"{party}: Bob (")
    assert run("enroll", party, "--name", "Eve", "--gallery", gallery) == 1
    assert "2 faces are in it and one is meant" in capsys.readouterr().err


def test_names_of_files_do_not_move_the_cursor(tmp_path, gallery, capsys):
    photograph = face(tmp_path / "a\n\x1b[2Jb.png", 1, 9)
    assert run("identify", photograph, "--aligned", "--gallery", gallery) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/a\\n\\u001b[2Jb.png: Bob (")


@pytest.mark.parametrize("threshold", ["nan", "7", "-1.5"])
def test_a_threshold_that_is_no_score_is_refused(tmp_path, gallery, people, capsys, threshold):
    words = ("identify", people / "Ann" / "0.png", "--aligned", "--gallery", gallery)
    assert run(*words, "--threshold", threshold) == 1
    assert "is no score; choose one from -1 to 1" in capsys.readouterr().err
    assert run(*words, "--calibration", "") == 1
    assert "--calibration is empty" in capsys.readouterr().err


def test_another_encoder_s_gallery_is_refused(tmp_path, gallery, people, capsys):
    for command in (
        ("enroll", people / "Ann", "--name", "Ann"),
        ("identify", people / "Ann" / "0.png"),
    ):
        assert run(*command, "--aligned", "--gallery", gallery, "--encoder", "other") == 1
        assert "holds vectors of faceres (version 00c0ffee), which cannot be compared" in capsys.readouterr().err


def test_an_empty_gallery_and_none_at_all_are_one_sentence(tmp_path, gallery, people, capsys):
    photograph = people / "Ann" / "0.png"
    assert run("identify", photograph, "--aligned", "--gallery", tmp_path / "none.db") == 1
    assert "there is no gallery" in capsys.readouterr().err and not (tmp_path / "none.db").exists()
    assert run("gallery", "delete", "--gallery", gallery) == 1
    assert "say who is to be deleted" in capsys.readouterr().err
    assert run("identify", photograph, "--aligned", "--gallery", gallery, "--where", "site=north") == 1
    assert "holds nobody that --where asks for" in capsys.readouterr().err
    assert run("gallery", "delete", "--all", "--gallery", gallery) == 0
    assert capsys.readouterr().out == f"deleted 9 records from {gallery}\n"
    assert run("identify", photograph, "--aligned", "--gallery", gallery) == 1
    assert "holds nobody; enrol people with faceflax enroll" in capsys.readouterr().err


def test_what_is_recorded_is_the_digest_of_what_was_embedded(tmp_path, people, capsys, monkeypatch):
    photograph = people / "Ann" / "0.png"
    seen = hashlib.sha256(photograph.read_bytes()).hexdigest()
    decode = images._decode

    def replaced_meanwhile(encoded):
        photograph.write_bytes(b"another")
        return decode(encoded)

    monkeypatch.setattr(images, "_decode", replaced_meanwhile)
    assert run("enroll", photograph, "--name", "Ann", "--aligned", "--gallery", tmp_path / "faces.db") == 0
    capsys.readouterr()
    assert run("gallery", "show", "--gallery", tmp_path / "faces.db") == 0
    (line,) = json_lines(capsys)
    assert line["sources"] == [seen]


def test_a_face_is_made_from_stored_vectors_and_says_that_it_is_an_estimate(tmp_path, gallery, capsys, monkeypatch):
    made = []

    class Invented:
        def __init__(self, version, size, devices):
            assert version == "00c0ffee"
            self.size = size

        def __call__(self, vectors):
            made.append(vectors)
            return np.full((len(vectors), self.size, self.size, 3), 90, np.uint8)

    monkeypatch.setattr(reconstruct, "check", lambda version, size: None)
    monkeypatch.setattr(reconstruct, "Reconstructor", Invented)
    out = tmp_path / "out.png"
    assert run("reconstruct", "--gallery", gallery, "--name", "Ann", "--out", out, "--size", "128") == 0
    assert "an estimate of Ann from 3 feature vectors" in capsys.readouterr().out
    picture = cv2.imread(str(out))
    assert out.stat().st_mode & 0o777 == 0o600  # as the gallery
    assert picture.shape[1] == 128 and picture.shape[0] > 128 and (picture[:128] == 90).all()
    assert picture[128:].min() < 100 and picture[128:].max() == 255
    ((vector,),) = made
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    out.unlink()
    assert run("reconstruct", "--gallery", gallery, "--name", "Eve", "--out", out) == 1
    assert "Eve is not in the gallery" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("Ann", "new/e.png"), "these feature vectors are of version 00c0ffee"),
        (("Eve", "new/e.png"), "Eve is not in the gallery"),
        (("Ann", "taken/e.png", "known"), "cannot make the folder"),
        (("Ann", "folder.png", "known"), "is a folder; name the file to write"),
    ],
)
def test_a_face_that_cannot_be_kept_is_not_made(tmp_path, gallery, capsys, monkeypatch, words, sentence):
    (name, out, *known) = words
    (tmp_path / "taken").touch()
    (tmp_path / "folder.png").mkdir()
    if known:
        monkeypatch.setattr(reconstruct, "check", lambda version, size: None)
    monkeypatch.setattr(reconstruct, "Reconstructor", lambda *arguments: pytest.fail("it went to work"))
    before = sorted(tmp_path.iterdir())
    assert run("reconstruct", "--gallery", gallery, "--name", name, "--out", tmp_path / out) == 1
    assert sentence in capsys.readouterr().err and sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_the_commands_reach_a_server(tmp_path, people, capsys):
    with local_server.serve(tmp_path / "data") as uri:
        assert run("enroll", people, "--aligned", "--gallery", uri) == 0
        capsys.readouterr()
        assert run("identify", face(tmp_path / "x.png", 1, 9), "--aligned", "--gallery", uri, "--json") == 0
        assert json_lines(capsys)[0]["name"] == "Bob"
