"""`faceflax gallery`: what it lists, shows, changes, deletes and exports, and for whom."""

import hashlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from faceflax.recognition import store
from faceflax.recognition.gallery import Gallery
from tests import crowd, galleries
from tests.commands import run
from tests.crowd import face, json_lines

pytestmark = pytest.mark.usefixtures("invented")


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
    said = capsys.readouterr()
    assert said.err.startswith("error: nobody in the gallery") and said.out == ""
    assert run("gallery", "update", "--gallery", gallery, "--name", "Eve", "--purpose", "door") == 1
    assert capsys.readouterr().out == ""
    assert run("gallery", "delete", "--gallery", gallery, "--name", "Bob") == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", gallery) == 0
    said = capsys.readouterr().out
    assert "Ann" in said and "Bob" not in said and "2 people" in said
    assert run("gallery", "check", "--gallery", gallery, "--queries", "20") == 0
    assert capsys.readouterr().out.startswith("recall@6 1.0000 against brute force, 20 queries on 6 vectors")


@pytest.mark.parametrize(("action", "done"), [("update", "updated"), ("delete", "deleted")])
def test_who_is_meant_must_be_said(gallery, capsys, action, done):
    words = ("gallery", action, "--gallery", gallery, *(("--purpose", "door") if action == "update" else ()))
    assert run(*words) == 1
    assert f"say who is to be {done}, with --name or --where; --all {action}s everybody" in capsys.readouterr().err
    assert run(*words, "--all", "--name", "Ann") == 1
    assert f"--all {action}s everybody; leave out" in capsys.readouterr().err
    assert run(*words, "--all") == 0
    assert capsys.readouterr().out == f"{done} 9 records {'in' if action == 'update' else 'from'} {gallery}\n"


def test_single_photographs_are_deleted_by_their_content(tmp_path, gallery, people, capsys):
    wrong = tmp_path / "wrong.png"  # another place, the same bytes
    wrong.write_bytes((people / "Ann" / "1.png").read_bytes())
    strange, gone = face(tmp_path / "9.png", 9), tmp_path / "gone.png"
    delete = ("gallery", "delete", "--gallery", gallery, "--photograph")
    assert run("enroll", wrong, "--name", "Bob", "--aligned", "--gallery", gallery) == 1
    assert f"or there with faceflax gallery delete --photograph {wrong}" in capsys.readouterr().err
    assert run(*delete, wrong, "--all") == run(*delete, wrong, "--name", "Ann") == 1
    assert capsys.readouterr().err.count("--photograph says what is deleted; leave out") == 2
    assert run(*delete, wrong, strange, gone, people / "Zoë" / "0.png") == 1
    said = capsys.readouterr()
    assert said.out == f"deleted 2 records from {gallery}\n" and len(said.err.splitlines()) == 2
    assert f"{strange}: is not enrolled in {gallery}" in said.err and f"{gone}: " in said.err
    assert run("enroll", wrong, "--name", "Bob", "--aligned", "--gallery", gallery) == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", gallery, "--json") == 0
    assert [(line["name"], line["photographs"]) for line in json_lines(capsys)] == [("Ann", 2), ("Bob", 4), ("Zoë", 2)]


def test_a_photograph_is_not_taken_out_of_an_average(tmp_path, uri, people, capsys):
    photograph = people / "Ann" / "1.png"
    assert run("enroll", people, "--average", "--aligned", "--gallery", uri) == 0
    capsys.readouterr()
    assert run("gallery", "delete", "--gallery", uri, "--photograph", photograph) == 1
    said = capsys.readouterr()
    assert said.out == f"deleted 0 records from {uri}\n"
    assert f"{photograph}: cannot be taken out of the average of Ann; delete Ann with --name, and enrol" in said.err


def test_one_person_has_one_name_however_it_is_written(tmp_path, gallery, people, capsys):
    written = "  Zoe\N{COMBINING DIAERESIS} "
    assert run("enroll", face(tmp_path / "4.png", 2, 4), "--name", written, "--aligned", "--gallery", gallery) == 0
    capsys.readouterr()
    for words in (("--name", written), ("--where", f"name={written}")):
        assert run("gallery", "list", "--gallery", gallery, "--json", *words) == 0
        assert [(line["name"], line["photographs"]) for line in json_lines(capsys)] == [("Zoë", 4)]


def test_a_name_that_is_held_decomposed_is_found_and_composed_when_enrolled_again(tmp_path, people, capsys):
    old, where = "Zoe\N{COMBINING DIAERESIS}", tmp_path / "old.db"
    encoder = crowd.ENCODERS["faceres"]
    with store.connect(str(where), create=True) as opened:  # as galleries were written before names were composed
        sources = [hashlib.sha256((people / "Zoë" / f"{i}.png").read_bytes()).hexdigest() for i in range(2)]
        rows = [galleries.record(old, each, encoder=encoder.name, version=encoder.version) for each in sources]
        Gallery(opened).add(encoder, rows, galleries.unit_vectors(2, encoder.size))
    for name in (old, "Zoë"):
        assert run("gallery", "list", "--gallery", where, "--name", name, "--json") == 0
        assert [line["photographs"] for line in json_lines(capsys)] == [2]
    assert run("enroll", people / "Zoë" / "1.png", "--name", "Zoë", "--aligned", "--gallery", where) == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", where, "--json") == 0
    assert [(line["name"], line["vectors"]) for line in json_lines(capsys)] == [("Zoë", 2)]
    assert old.encode() not in galleries.bytes_below(where)
    assert run("gallery", "delete", "--gallery", where, "--name", old) == 0


def test_a_photograph_that_is_held_under_both_spellings_of_a_name_is_enrolled_again(tmp_path, people, capsys):
    photograph, where = people / "Zoë" / "0.png", tmp_path / "old.db"
    encoder = crowd.ENCODERS["faceres"]
    source = hashlib.sha256(photograph.read_bytes()).hexdigest()
    with store.connect(str(where), create=True) as opened:
        rows = [
            galleries.record(name, source, encoder=encoder.name, version=encoder.version)
            for name in ("Zoe\N{COMBINING DIAERESIS}", "Zoë")
        ]
        Gallery(opened).add(encoder, rows, galleries.unit_vectors(2, encoder.size))
    assert run("enroll", photograph, "--name", "Zoë", "--aligned", "--gallery", where) == 0
    assert capsys.readouterr().out.startswith("enrolled 1 of 1 photographs, 1 person,")


def test_where_nobody_is_listed_it_says_so(gallery, capsys):
    assert run("gallery", "list", "--gallery", gallery, "--name", "Eve") == 0
    assert capsys.readouterr().out == f"nobody matches, of 3 people in {gallery}\n"
    assert run("gallery", "list", "--gallery", gallery, "--name", "Eve", "--json") == 0
    assert capsys.readouterr().out == ""
    assert run("gallery", "delete", "--gallery", gallery, "--all") == 0
    capsys.readouterr()
    assert run("gallery", "list", "--gallery", gallery) == 0
    assert capsys.readouterr().out == f"{gallery} is empty\n"


def test_an_empty_gallery_is_listed_as_that(server, capsys):
    galleries.empty(server)
    assert run("gallery", "list", "--gallery", server) == 0
    assert capsys.readouterr().out == f"{server} is empty\n"


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
    monkeypatch.delenv("COLUMNS")  # what a program reads is not cut
    assert run("gallery", "list", "--gallery", tmp_path / "faces.db") == 0
    cells = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert set(names) <= set(cells)


def test_a_gallery_is_exported_as_vectors_and_as_photographs(tmp_path, gallery, people, capsys, caplog):
    assert (
        run("gallery", "export", "--gallery", gallery, "--out", tmp_path / "set", "--name", "Ann", "--name", "Bob") == 0
    )
    said = capsys.readouterr()
    assert said.err == "" and not [each for each in caplog.records if each.name == "absl"]
    (folder,) = said.out.split()
    assert folder == str(tmp_path / "set" / "gallery_vectors" / "all" / "1.0.0")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["gallery_vectors"]
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
    for folder in (out, tmp_path / "set"):
        assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_dir()} == {0o700}
    assert run("gallery", "export", "--gallery", gallery, "--out", gallery / "new" / "set") == 1
    assert "lies in the gallery itself" in capsys.readouterr().err and not (gallery / "new").exists()


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
    assert run("gallery", "export", "--gallery", gallery, "--out", shared, *words) == len(wanted)


def test_who_was_deleted_does_not_come_back_with_an_export(tmp_path, gallery, people, capsys):
    words = ("gallery", "export", "--gallery", gallery, "--out", tmp_path / "set", "--photographs", people)
    assert run(*words) == 0
    assert run("gallery", "delete", "--gallery", gallery, "--name", "Ann") == 0
    capsys.readouterr()
    assert run(*words) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'set'} is there already; choose another --out or remove it\n"
    )
    shutil.rmtree(tmp_path / "set")
    assert run(*words) == 0
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["Bob", "Zoë"]


@pytest.mark.parametrize("wanted", [[], ["--photographs"]])
def test_an_export_of_nobody_is_none(tmp_path, gallery, people, capsys, wanted):
    words = [*wanted, *[people][: len(wanted)]]
    assert run("gallery", "export", "--gallery", gallery, "--name", "An", "--out", tmp_path / "set", *words) == 1
    assert capsys.readouterr().err == (
        f"error: nobody in the gallery {gallery} is meant; faceflax gallery list shows who is there\n"
    )
    assert not (tmp_path / "set").exists()


def test_no_name_is_too_long_for_a_folder_nor_taken_for_a_split(tmp_path, people, capsys):
    long = ["é" * 128, "é" * 127 + "/", "%" * 256, "%" * 255 + "/"]
    names = [*long, "train", "validation", "test", "tester"]
    for number, name in enumerate(names):
        photograph = face(tmp_path / "one" / f"{number}.png", number)
        assert run("enroll", photograph, "--name", name, "--aligned", "--gallery", tmp_path / "faces.db") == 0
    words = ("--gallery", tmp_path / "faces.db", "--out", tmp_path / "out", "--photographs", tmp_path / "one")
    assert run("gallery", "export", *words) == 0
    folders = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(folders) == len(names) and {len(list(path.iterdir())) for path in (tmp_path / "out").iterdir()} == {1}
    assert {"%74rain", "%76alidation", "%74est", "tester"} <= folders


def test_photographs_that_cannot_be_read_are_named_and_the_rest_is_exported(tmp_path, gallery, people, capsys):
    (people / "Ann" / "dangling.png").symlink_to(tmp_path / "none.png")
    out = tmp_path / "crops"
    assert run("gallery", "export", "--gallery", gallery, "--out", out, "--photographs", people) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: 9 photographs\n"
    assert "dangling.png: cannot be read" in said.err and len(said.err.splitlines()) == 1


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
