"""What `faceflax normalize` keeps, makes anew and never touches in a folder that has results of earlier runs."""

import json
import os

import pytest

from faceflax.preprocessing import acquire, chain, results
from faceflax.preprocessing.images import Photograph, read, write
from tests import normalizing
from tests.normalizing import FACES, names, normalize, two_faces, video


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    normalizing.use_networks(monkeypatch)


def test_a_second_run_does_what_is_new_or_changed(tmp_path, capsys):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", Photograph(FACES[number], None))
    arguments = (tmp_path / "in", "--out", tmp_path / "out", "--size", "64")
    assert normalize(*arguments) == 0
    out = tmp_path / "out"
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    write(tmp_path / "in" / "1.png", Photograph(two_faces(), None))
    (out / "2.png").unlink()
    assert normalize(*arguments) == 0
    assert "(1 done already)" in capsys.readouterr().out
    changed = {name for name in names(out) if (out / name).stat().st_mtime_ns != before.get(name)}
    assert changed == {"1.json", "1.png", "1+2.png", "2.json", "2.png"}
    write(tmp_path / "in" / "1.png", Photograph(FACES[1], None))
    assert normalize(*arguments) == 0
    assert not (out / "1+2.png").exists()  # of the photograph that was there
    assert normalize(*arguments, "--no-relight") == 0
    assert "already" not in capsys.readouterr().out.splitlines()[-1]


def test_a_second_run_agrees_where_names_come_to_clash(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    arguments = (folder, "--out", out, "--size", "64")
    write(folder / "a.png", Photograph(two_faces(), None))
    assert normalize(*arguments) == 0
    assert names(out) == ["a+2.png", "a.json", "a.png"]
    write(folder / "a.TIF", Photograph(FACES[1], None))  # PNG in fact, which does not matter
    assert normalize(*arguments) == 0
    both = ["a.png+2.png", "a.png.json", "a.png.png", "a.tif.json", "a.tif.png"]
    assert names(out) == both  # nobody is there twice
    assert json.loads((out / "a.tif.json").read_text())["source"] == "a.TIF"
    capsys.readouterr()
    assert normalize(folder / "a.TIF", folder / "a.png", "--out", out, "--size", "64") == 0
    assert names(out) == both and "(2 done already)" in capsys.readouterr().out
    (folder / "a.TIF").unlink()
    assert normalize(*arguments) == 0
    assert names(out) == ["a+2.png", "a.json", "a.png", "a.tif.json", "a.tif.png"]


def test_what_was_made_of_a_name_that_is_not_utf8_is_kept_and_replaced_too(tmp_path, capsys):
    odd, out = os.fsdecode(b"caf\xe9"), tmp_path / "out"
    write(tmp_path / "in" / f"{odd}.png", Photograph(two_faces(), None))
    arguments = (tmp_path / "in", "--out", out, "--size", "64")
    for _ in range(2):
        assert normalize(*arguments) == 0
    assert "(1 done already)" in capsys.readouterr().out
    record = json.loads((out / f"{odd}.json").read_bytes())
    assert [face["file"] for face in record["faces"]] == [r"caf\xe9.png", r"caf\xe9+2.png"]
    assert record["path"].endswith(r"in/caf\xe9.png")
    write(tmp_path / "in" / f"{odd}.png", Photograph(FACES[1], None))
    assert normalize(*arguments) == 0
    assert names(out) == [f"{odd}.json", f"{odd}.png"]
    write(tmp_path / "other" / f"{odd}.png", Photograph(FACES[2], None))
    assert normalize(tmp_path / "other", *arguments[1:]) == 1
    assert "is there already, of" in capsys.readouterr().err


def test_what_another_chain_made_is_made_anew(tmp_path, capsys, monkeypatch):
    write(tmp_path / "a.png", Photograph(FACES[0], None))
    arguments = (tmp_path / "a.png", "--out", tmp_path / "out", "--size", "64")
    for chain_revision, is_kept in ((1, False), (1, True), (2, False)):
        monkeypatch.setattr(chain, "REVISION", chain_revision)
        assert normalize(*arguments) == 0
        assert ("(1 done already)" in capsys.readouterr().out) == is_kept
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    del record["chain"]  # as the first version wrote it
    (tmp_path / "out" / "a.json").write_text(json.dumps(record))
    assert normalize(*arguments) == 0
    assert "already" not in capsys.readouterr().out


def test_an_interrupted_change_of_size_is_not_taken_for_what_was_there(tmp_path, capsys, monkeypatch):
    """The record does not say that the crops are whole; what a former run made in excess is removed all the same."""
    source, out = tmp_path / "a.png", tmp_path / "out"
    write(source, Photograph(two_faces(), None))
    assert normalize(source, "--out", out, "--size", "64") == 0

    def interrupted(output, record, *, is_live):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "finish", interrupted)
        assert normalize(source, "--out", out, "--size", "48") == 130
    assert read(out / "a.png").pixels.shape == (48, 48, 3)
    assert normalize(source, "--out", out, "--size", "64", "--only-largest") == 0
    assert "already" not in capsys.readouterr().out.splitlines()[-1]
    assert names(out) == ["a.json", "a.png"] and read(out / "a.png").pixels.shape == (64, 64, 3)


def test_an_interrupted_run_says_how_many_are_done(tmp_path, capsys, monkeypatch):
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.png", Photograph(FACES[0], None))
    finish = results.finish

    def interrupted(output, record, *, is_live):
        if output.name == "c.png":
            raise KeyboardInterrupt
        finish(output, record, is_live=is_live)

    monkeypatch.setattr(results, "finish", interrupted)
    assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", "64") == 130
    assert capsys.readouterr().err == "interrupted: 2 of 3 sources are done\n"


def test_a_file_that_came_later_does_not_take_anothers_result(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    write(folder / "a.tif", Photograph(FACES[0], None))
    write(folder / "a.png", Photograph(two_faces(), None))
    for _ in range(2):
        assert normalize(folder / "a.tif", "--out", out, "--size", "64") == 0
        assert normalize(folder / "*.png", "--out", out, "--size", "64") == 0
    assert names(out) == ["a.json", "a.png", "a.png+2.png", "a.png.json", "a.png.png"]
    assert json.loads((out / "a.json").read_text())["source"] == "a.tif"
    assert capsys.readouterr().out.count("(1 done already)") == 2
    assert normalize(folder, "--out", out, "--size", "64") == 0
    assert names(out) == ["a.png+2.png", "a.png.json", "a.png.png", "a.tif.json", "a.tif.png"]
    write(tmp_path / "other" / "a.TIF", Photograph(FACES[0], None))
    (out / "a.json").write_text(json.dumps({"source": "a.heic", "faces": [], "refused": []}))
    assert normalize(tmp_path / "other" / "a.TIF", "--out", out, "--size", "64") == 1
    assert f"{out / 'a.png'} is there already, of another file; choose another --out" in capsys.readouterr().err


def test_results_are_never_taken_for_photographs(tmp_path, capsys):
    """Not when the folder, a pattern or a shell's list of names holds them."""
    folder = tmp_path / "in"
    write(folder / "a.tif", Photograph(two_faces(), None))
    video(folder / "clip.avi", 1)
    assert normalize(folder / "a.tif", folder / "clip.avi", "--out", folder, "--size", "64") == 0
    before = names(folder)
    capsys.readouterr()
    results = sorted(folder.rglob("*.png"))
    assert len(results) == 3
    for given, sentence in (
        ([folder], "as photographs the next time"),
        ([folder / "**" / "*"], "no image fits it"),
        (results[:2], "its result would overwrite"),
        (results[2:], "a face that faceflax normalize made"),
        ([folder / "clip"], "lies in --out, where pictures are results"),
    ):
        assert normalize(*given, "--out", folder, "--size", "64") == 1
        error = capsys.readouterr().err
        assert error.count(sentence) == error.count("\n") == len(given) and names(folder) == before
    assert normalize(results[1], "--out", tmp_path / "out", "--size", "64") == 0  # elsewhere it is a picture as others


def test_what_an_interrupted_run_left_of_a_video_is_removed(tmp_path, monkeypatch):
    """Also where it took other frames; what was there before it, or is another source's, is not."""
    source, out = tmp_path / "film.avi", tmp_path / "out"
    video(source, 8)
    write(out / "film" / "000099.png", Photograph(FACES[1], None))  # somebody's own
    write(tmp_path / "film+3.png", Photograph(FACES[2], None))
    assert normalize(tmp_path / "film+3.png", "--out", out, "--size", "64") == 0
    frames = acquire.frames

    def interrupted(*arguments):
        for number, frame in frames(*arguments):
            if number == 5:
                raise KeyboardInterrupt
            yield number, frame

    with monkeypatch.context() as patch:
        patch.setattr(acquire, "frames", interrupted)
        assert normalize(source, "--out", out, "--size", "64") == 130
    assert "film/000004.png" in names(out)
    write(out / "film+2.png", Photograph(FACES[0], None))  # as of a second face
    assert normalize(source, "--out", out, "--size", "64", "--every", "5") == 0
    kept = ["film+3.json", "film+3.png", "film.json", "film/000000.png", "film/000005.png", "film/000099.png"]
    assert names(out) == kept
    assert [face["file"] for face in json.loads((out / "film.json").read_text())["faces"]] == kept[3:5]


def test_another_photograph_of_the_same_name_does_not_take_the_place(tmp_path, capsys):
    first, second, out = tmp_path / "x" / "DSC_1.png", tmp_path / "y" / "DSC_1.png", tmp_path / "out"
    write(first, Photograph(FACES[0], None))
    write(second, Photograph(FACES[1], None))
    assert normalize(first, "--out", out, "--size", "64") == 0
    before = {name: (out / name).read_bytes() for name in names(out)}
    capsys.readouterr()
    assert normalize(second, "--out", out, "--size", "64") == 1
    error = capsys.readouterr().err
    assert error == f"error: {second}: {out / 'DSC_1.png'} is there already, of {first}; choose another --out\n"
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    second.write_bytes(first.read_bytes())  # a copy
    assert normalize(second, "--out", out, "--size", "64") == 0
    write(first, Photograph(FACES[2], None))  # it is the copy's now
    assert normalize(first, "--out", out, "--size", "64") == 1
    second.unlink()  # as when a folder moves
    assert normalize(first, "--out", out, "--size", "64") == 0
