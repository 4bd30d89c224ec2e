"""`faceflax enroll`, `identify` and `reconstruct`: names, files, exit codes and sentences."""

import hashlib

import cv2
import numpy as np
import pytest

from experiments import local_server
from faceflax.preprocessing import detection, images, landmarks
from faceflax.preprocessing.detection import Face
from faceflax.recognition.gallery import Gallery
from faceflax.restoration import reconstruct
from tests.commands import run
from tests.crowd import face, json_lines

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


def test_a_classifier_names_the_same_people(tmp_path, gallery, capsys, monkeypatch):
    """With the scores of their nearest vectors, which it takes from what it was trained on."""
    files = [face(tmp_path / f"{number}.png", number, 9) for number in (0, 1, 2, 8)]
    words = ("identify", *files, "--aligned", "--gallery", gallery, "--json")
    assert run(*words) == 0
    nearest = [{each["name"]: each["score"] for each in line["people"]} for line in json_lines(capsys)]
    monkeypatch.setattr(Gallery, "search", lambda *arguments: pytest.fail("the database was searched"))
    assert run(*words, "--by", "classifier") == 0
    lines = json_lines(capsys)
    assert [line["name"] for line in lines] == ["Ann", "Bob", "Zoë", None]
    for line, scores in zip(lines, nearest, strict=True):
        assert {each["name"]: each["score"] for each in line["people"]} == pytest.approx(scores, abs=2e-6)


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
