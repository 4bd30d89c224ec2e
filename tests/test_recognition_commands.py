"""`faceflax enroll`, `identify`, `verify`, `calibrate` and `gallery`: names, files, exit codes and sentences.

The encoder is an invented one: a crop's vector is its colours in sixteen cells, so that alike crops have alike vectors.
"""

import csv
import hashlib
import json
import os

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments import local_server
from faceflax import cli
from faceflax.models import face_encoder
from faceflax.models.face_encoder import FaceEncoder
from faceflax.preprocessing import images
from faceflax.recognition import calibration
from faceflax.recognition.calibration import Calibration
from faceflax.recognition.commands import reconstruct


def _embed(params, images):
    cells = images.reshape(len(images), 4, 8, 4, 8, 3).mean((2, 4)).reshape(len(images), 48) - 0.5
    return cells / jnp.linalg.norm(cells, axis=-1, keepdims=True)


ENCODERS = {
    name: FaceEncoder(name, version, 48, 32, load=dict, embed=_embed)
    for name, version in (("faceres", "00c0ffee"), ("other", "0badcafe"))
}


@pytest.fixture(autouse=True)
def invented(monkeypatch):
    monkeypatch.setattr(face_encoder, "create", lambda name: ENCODERS[name])
    known = Calibration("faceres", "00c0ffee", 0.7, 0.001, 1000, 0.9, 100, "invented faces")
    monkeypatch.setattr(calibration, "DEFAULTS", (known,))


def face(path, person, shot=0, size=32):
    """A crop of a person: sixteen coloured cells, and noise by the number of the shot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(person).uniform(0, 255, (4, 4, 3))
    pixels = np.kron(cells, np.ones((size // 4, size // 4, 1)))
    pixels += np.random.default_rng(1000 * person + shot).normal(0, 20, pixels.shape)
    assert cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8))
    return path


def run(*words):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(map(os.fspath, words)))
    return caught.value.code


@pytest.fixture
def people(tmp_path):
    """A folder with a folder of three crops for each of three people."""
    for number, name in enumerate(("Ann", "Bob", "Zoë")):
        for shot in range(3):
            face(tmp_path / "people" / name / f"{shot}.png", number, shot)
    return tmp_path / "people"


@pytest.fixture
def gallery(tmp_path, people, capsys):
    assert run("enroll", people, "--aligned", "--gallery", tmp_path / "faces.db", "--consent", "letters of May") == 0
    said = capsys.readouterr()
    assert said.out == f"enrolled 9 of 9 photographs, 3 people, in {tmp_path / 'faces.db'}\n" and said.err == ""
    return tmp_path / "faces.db"


def json_lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


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


def test_an_average_is_that_of_all_photographs_however_they_come(tmp_path, people, capsys):
    for name, groups in {"once": [range(3)], "twice": [[2], [0, 1], [1]]}.items():
        for shots in groups:
            files = [people / "Ann" / f"{shot}.png" for shot in shots]
            assert run("enroll", *files, "--name", "Ann", "--average", "--aligned", "--gallery", tmp_path / name) == 0
    capsys.readouterr()
    from faceflax.recognition.commands.session import open_gallery

    vectors = {}
    for name in ("once", "twice"):
        with open_gallery(str(tmp_path / name)) as opened:
            ((records, vectors[name]),) = opened.vectors()
        assert len(records) == 1 and len(records[0].sources) == 3
    np.testing.assert_allclose(vectors["once"], vectors["twice"], atol=1e-6)
    pixels = [cv2.imread(str(people / "Ann" / f"{shot}.png"))[..., ::-1] / np.float32(255) for shot in range(3)]
    mean = np.asarray(_embed({}, jnp.asarray(np.stack(pixels)))).mean(0)
    np.testing.assert_allclose(vectors["once"][0], mean / np.linalg.norm(mean), atol=1e-5)


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


def test_records_are_shown_changed_and_deleted(gallery, capsys):
    assert (
        run("gallery", "update", "--gallery", gallery, "--name", "Bob", "--set", "site=north", "--purpose", "door") == 0
    )
    capsys.readouterr()
    assert run("gallery", "show", "--gallery", gallery, "--where", "site=north") == 0
    lines = json_lines(capsys)
    assert [line["name"] for line in lines] == ["Bob"] * 3
    for line in lines:
        assert (line["encoder"], line["version"], line["consent"], line["purpose"]) == (
            "faceres", "00c0ffee", "letters of May", "door",
        )  # fmt: skip
        assert (
            line["metadata"] == {"site": "north"} and len(line["sources"][0]) == 64 and line["time"].endswith("+00:00")
        )
    assert run("gallery", "delete", "--gallery", gallery, "--name", "Bob", "--where", "site=south") == 1
    assert "nobody in the gallery" in capsys.readouterr().err
    assert run("gallery", "delete", "--gallery", gallery, "--name", "Bob") == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", gallery) == 0
    said = capsys.readouterr().out
    assert "Ann" in said and "Bob" not in said and "2 people" in said
    assert run("gallery", "check", "--gallery", gallery, "--queries", "20") == 0
    assert capsys.readouterr().out.startswith("recall@6 1.0000 against brute force, 20 queries on 6 vectors")


def test_a_gallery_is_exported_as_vectors_and_as_photographs(tmp_path, gallery, people, capsys):
    assert (
        run("gallery", "export", "--gallery", gallery, "--out", tmp_path / "set", "--name", "Ann", "--name", "Bob") == 0
    )
    (folder,) = capsys.readouterr().out.split()
    builder = tfds.builder_from_directory(folder)
    examples = list(builder.as_data_source("train"))
    assert builder.info.features["identity"].names == ["Ann", "Bob"]
    assert sorted(example["identity"] for example in examples) == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose([np.linalg.norm(example["vector"]) for example in examples], 1, atol=1e-5)
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o700
    assert modes_of_files(tmp_path / "set") == {0o600}
    (people / "Bob" / "1.png").unlink()
    out = tmp_path / "crops"
    assert run("gallery", "export", "--gallery", gallery, "--out", out, "--photographs", people) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 8 photographs\n" and "1 enrolled photographs are not among" in said.err
    assert len(list((out / "Bob").iterdir())) == 2
    found = {path.read_bytes() for path in (out / "Zoë").iterdir()}
    assert found == {path.read_bytes() for path in (people / "Zoë").iterdir()}
    assert modes_of_files(out) == {0o600}


def modes_of_files(folder):
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("wanted", [[], ["--photographs"]])
def test_no_one_else_can_look_into_an_export(tmp_path, gallery, people, capsys, wanted):
    words = [*wanted, *[people][: len(wanted)]]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty").chmod(0o755)
    assert run("gallery", "export", "--gallery", gallery, "--out", tmp_path / "empty", *words) == 0
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    shared = face(tmp_path / "shared" / "other.png", 9).parent
    shared.chmod(0o755)
    assert run("gallery", "export", "--gallery", gallery, "--out", shared, *words) == 1
    assert f"others can look into the folder {shared}" in capsys.readouterr().err
    assert [path.name for path in shared.iterdir()] == ["other.png"] and shared.stat().st_mode & 0o777 == 0o755
    shared.chmod(0o700)
    assert run("gallery", "export", "--gallery", gallery, "--out", shared, *words) == 0


def test_photographs_that_cannot_be_read_are_named_and_the_rest_is_exported(tmp_path, gallery, people, capsys):
    (people / "Ann" / "dangling.png").symlink_to(tmp_path / "none.png")
    out = tmp_path / "crops"
    assert run("gallery", "export", "--gallery", gallery, "--out", out, "--photographs", people) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 9 photographs\n"
    assert "dangling.png: cannot be read" in said.err and len(said.err.splitlines()) == 1


def test_names_are_listed_letter_for_letter(tmp_path, people, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    names = ["smith [old]", "a [/b]", "[link=x]y[/link]", "long" * 30]
    for shot, name in enumerate(names):
        photograph = face(tmp_path / f"{shot}.png", shot)
        assert run("enroll", photograph, "--name", name, "--aligned", "--gallery", tmp_path / "faces.db") == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", tmp_path / "faces.db") == 0
    cells = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert set(names[:3]) <= set(cells)
    assert "".join(cell for cell in cells if set(cell) <= set("long")) == names[3]


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


def test_no_name_leads_out_of_the_export(tmp_path, people, capsys):
    for name in ("../../outside", ".hidden", "a/b", ".."):
        photograph = face(tmp_path / "one" / f"{abs(hash(name))}.png", len(name))
        assert run("enroll", photograph, "--name", name, "--aligned", "--gallery", tmp_path / "faces.db") == 0
    assert (
        run(
            "gallery",
            "export",
            "--gallery",
            tmp_path / "faces.db",
            "--out",
            tmp_path / "out",
            "--photographs",
            tmp_path / "one",
        )
        == 0
    )
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == ["%2E.", "%2E.%2F..%2Foutside", "%2Ehidden", "a%2Fb"]
    assert not list(tmp_path.glob("**/outside"))


def write_pairs(path, pairs):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_x", "file_y", "note"), *((*pair, "x") for pair in pairs)])
    return path


def test_pairs_are_compared_and_no_line_is_dropped(tmp_path, people, capsys, monkeypatch):
    broken = tmp_path / "broken.png"
    broken.write_text("not an image")
    files = [people / "Ann" / "0.png", people / "Ann" / "1.png", people / "Bob" / "0.png"]
    pairs = [
        (files[0], files[1]),
        (files[0], files[2]),
        (broken, files[0]),
        (files[1], tmp_path / "none.png"),
        ("", ""),
    ]
    pairs += [("people/Ann/0.png", "people/Ann/2.png"), (files[0], files[0])]
    listed = write_pairs(tmp_path / "pairs.csv", pairs)
    assert run("verify", "--pairs", listed, "--aligned", "--json") == 1
    lines = json_lines(capsys)
    assert [(line["file_x"], line["file_y"]) for line in lines] == [tuple(map(str, pair)) for pair in pairs]
    assert [line["same"] for line in lines] == [True, False, None, None, None, True, True]
    assert all(("error" in line) == (line["score"] is None) for line in lines)
    assert lines[6]["score"] == pytest.approx(1, abs=1e-5) and lines[0]["false_accept_rate"] == 0.001
    assert "broken.png" in lines[2]["error"] and "none.png" in lines[3]["error"]


def test_two_photographs_are_compared_in_words(people, capsys):
    assert run("verify", people / "Ann" / "0.png", people / "Ann" / "1.png", "--aligned") == 0
    said = capsys.readouterr().out
    assert ": the same person (score 0.9" in said and "at which 0.001 of the pairs of different people pass" in said
    assert run("verify", people / "Ann" / "0.png", people / "Bob" / "1.png", "--aligned", "--threshold", "0.99") == 0
    assert ": different people (score " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "must name the columns"), ("file_x,file_y\n", "holds no pairs"), (b"\xff\xfe\x00", "no CSV file")],
)
def test_a_bad_list_of_pairs_is_one_sentence(tmp_path, capsys, text, sentence):
    (tmp_path / "pairs.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert run("verify", "--pairs", tmp_path / "pairs.csv", "--aligned") == 1
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
    assert run("verify", tmp_path / "a.png", "--aligned") == 1
    assert "compares two photographs, and 1 were given" in capsys.readouterr().err


def test_a_threshold_is_measured_kept_and_used(tmp_path, people, capsys):
    out = tmp_path / "calibration.json"
    assert run("calibrate", people, "--aligned", "--far", "0.04", "--out", out) == 0
    assert "0.037 of 27 pairs of different people pass, 1.0000 of 9 pairs of one person" in capsys.readouterr().out
    kept = json.loads(out.read_text())
    assert (kept["encoder"], kept["version"], kept["different"], kept["same"]) == ("faceres", "00c0ffee", 27, 9)
    pair = (people / "Ann" / "0.png", people / "Bob" / "0.png", "--aligned", "--json")
    assert run("verify", *pair, "--calibration", out) == 0
    (line,) = json_lines(capsys)
    assert line["threshold"] == pytest.approx(kept["threshold"], abs=1e-6) and line[
        "false_accept_rate"
    ] == pytest.approx(1 / 27)
    assert run("verify", *pair, "--calibration", out, "--encoder", "other") == 1
    assert "is for faceres (version 00c0ffee), and the vectors are of other" in capsys.readouterr().err
    assert run("verify", *pair, "--encoder", "other") == 1
    assert "no threshold comes with other (version 0badcafe)" in capsys.readouterr().err
    assert run("calibrate", people, "--aligned", "--far", "0.001", "--out", out) == 1
    assert "needs 1,000 pairs of different people, and there are 27" in capsys.readouterr().err
    assert json.loads(out.read_text()) == kept


def test_the_rates_are_told_for_each_group(tmp_path, people, capsys):
    (tmp_path / "groups.csv").write_text("person,group\nAnn,tall\nZoë,tall\nBob,short\n", encoding="utf-8")
    command = ("calibrate", people, "--aligned", "--far", "0.5", "--out", tmp_path / "c.json", "--groups")
    assert run(*command, tmp_path / "groups.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "short, 1 people: 0 of 0 pairs of different people pass, 3 of 3 pairs of one person"
    assert lines[2].startswith("tall, 2 people: ") and "of 9 pairs of different people pass, 6 of 6 pairs" in lines[2]
    assert run(*command, people) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_face_is_made_from_stored_vectors_and_says_that_it_is_an_estimate(tmp_path, gallery, capsys, monkeypatch):
    made = []

    class Invented:
        def __init__(self, version, size, devices):
            assert version == "00c0ffee"
            self.size = size

        def __call__(self, vectors):
            made.append(vectors)
            return np.full((len(vectors), self.size, self.size, 3), 90, np.uint8)

    monkeypatch.setattr(reconstruct, "Reconstructor", Invented)
    out = tmp_path / "out.png"
    assert run("reconstruct", "--gallery", gallery, "--name", "Ann", "--out", out, "--size", "128") == 0
    assert "an estimate of Ann from 3 feature vectors" in capsys.readouterr().out
    picture = cv2.imread(str(out))
    assert picture.shape[1] == 128 and picture.shape[0] > 128 and (picture[:128] == 90).all()
    assert picture[128:].min() < 100 and picture[128:].max() == 255
    ((vector,),) = made
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    out.unlink()
    assert run("reconstruct", "--gallery", gallery, "--name", "Eve", "--out", out) == 1
    assert "Eve is not in the gallery" in capsys.readouterr().err and not out.exists()


@pytest.mark.slow
def test_the_commands_reach_a_server(tmp_path, people, capsys):
    with local_server.serve(tmp_path / "data") as uri:
        assert run("enroll", people, "--aligned", "--gallery", uri) == 0
        capsys.readouterr()
        assert run("identify", face(tmp_path / "x.png", 1, 9), "--aligned", "--gallery", uri, "--json") == 0
        assert json_lines(capsys)[0]["name"] == "Bob"
