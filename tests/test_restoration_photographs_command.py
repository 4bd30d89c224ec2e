"""`faceflax restore` with whole photographs: what it says of bad files, names, models and options."""

import functools
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflax.preprocessing.images import Photograph, read, write
from faceflax.restoration import subjects
from tests import commands, faces, untrained
from tests.known_faces import CORNERS, SIZE, always, jobs

restore = functools.partial(commands.run, "restore")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A workdir whose network returns its input."""
    return untrained.make_workdir(tmp_path_factory.mktemp("workdir"), SIZE)


def test_a_model_that_is_none_is_told_before_anything_is_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda: pytest.fail("the detector is fetched first"))
    monkeypatch.chdir(tmp_path)
    (job,) = jobs(tmp_path, 1)
    Image.fromarray(faces.background(30, 30)).save("face.avif")
    (tmp_path / "album").mkdir()
    (tmp_path / "face.onnx").write_bytes(b"hello")
    told = {
        ("cnnn",): 'no model "cnnn": it is not a workdir or file, nor one of those that come with faceflax, which `fac',
        (job.source,): "00.png: is a picture; name a model",
        ("face.avif",): "face.avif: is a picture; name a model",
        ("album",): "album is not a workdir of a trained model",
        ("face.onnx", "--fidelity", "0.5"): "--fidelity cannot be chosen for face.onnx, in which it is settled: leave",
    }
    for arguments, sentence in told.items():
        assert restore(job.source, "--out", "out", "--model", *arguments) == 1
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_the_command_keeps_names_apart(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda **_: always(*CORNERS))
    made = jobs(tmp_path, 2)
    made[1].source.rename(made[1].source.with_name("00.compare.png"))
    assert restore(tmp_path / "in", "--out", tmp_path / "out", "--model", model, "--compare") == 1
    captured = capsys.readouterr()
    assert "00.compare.png, which goes with its result, is another file's name" in captured.err
    assert captured.out == f"restored 3 faces in 1 of 2 photographs into {tmp_path / 'out'}\n"


def test_bad_files_of_every_kind_from_the_command(tmp_path, model, capfd, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda **_: always(*CORNERS))
    (good,) = jobs(tmp_path, 1)
    whole = good.source.read_bytes()
    odd = os.fsdecode(b"caf\xe9")
    good.source.rename(tmp_path / "in" / f"{odd}.png")
    giant = whole[:16] + (50_000).to_bytes(4, "big") * 2 + whole[24:]
    bad = {"text.jpg": b"hello", "empty.jpg": b"", "cut.png": whole[: len(whole) // 2], "giant.png": giant}
    middle = len(whole) // 2
    bad["scratched.png"] = whole[:middle] + bytes(400) + whole[middle + 400 :]
    for name, data in {**bad, f"{odd}2.png": b"broken"}.items():
        (tmp_path / "in" / name).write_bytes(data)
    assert restore(tmp_path / "in", "--out", tmp_path / "out", "--model", model) == 1
    captured = capfd.readouterr()  # what decoders write by themselves, too
    lines = captured.err.splitlines()
    assert len(lines) == 6 and all(line.startswith("error: ") for line in lines)
    assert all(any(name in line for line in lines) for name in bad)
    assert captured.out.startswith("restored 3 faces in 1 of 7 photographs")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{odd}.json", f"{odd}.png"]


def test_a_run_that_restores_nothing_leaves_no_folder_that_it_made(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda: always(*CORNERS))
    (job,) = jobs(tmp_path, 1)
    (tmp_path / "text.jpg").write_bytes(b"hello")
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "new" / "out", tmp_path / "there"):
        assert restore(tmp_path / "text.jpg", "--out", out, "--model", model) == 1
    assert not (tmp_path / "new").exists() and (tmp_path / "there").is_dir()
    assert restore(tmp_path / "text.jpg", job.source, "--out", tmp_path / "new" / "out", "--model", model) == 1
    assert (tmp_path / "new" / "out" / "00.png").is_file()


@pytest.mark.parametrize(("words", "noun"), [((), "photograph"), (("--aligned",), "image")])
def test_what_has_a_mask_without_a_hole_comes_out_as_it_went_in_and_is_told(
    tmp_path, model, capsys, monkeypatch, words, noun
):
    monkeypatch.setattr(subjects, "load_locator", lambda: always(*CORNERS))
    drawn = np.zeros((110, 120), np.uint8)
    for job, mask in zip(
        jobs(tmp_path, 3), (drawn, cv2.circle(drawn.copy(), (25, 30), 5, 255, -1), drawn), strict=True
    ):
        write(tmp_path / "masks" / job.source.name, Photograph(mask, None))
    command = (tmp_path / "in", *words, "--out", tmp_path / "out", "--model", model, "--mask")
    assert restore(*command, tmp_path / "masks") == 0
    captured = capsys.readouterr()
    assert f"in the mask of 2 {noun}s, of which nothing was changed" in captured.out and captured.err == ""
    assert f"3 of 3 {noun}s into" in captured.out
    before, after = ([read(tmp_path / place / f"0{n}.png").pixels for n in range(3)] for place in ("in", "out"))
    assert [np.array_equal(*pair) for pair in zip(before, after, strict=True)] == [True, False, True]
    assert restore(*command, tmp_path / "masks" / "00.png") == 0
    assert f"in the mask of 3 {noun}s, of which nothing was changed" in capsys.readouterr().out


def test_a_hole_that_stays_is_an_error_of_the_whole_command(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda: always(*CORNERS[:2]))
    (job,) = jobs(tmp_path, 1)
    drawn = np.zeros((110, 120), np.uint8)
    drawn[20:30, 15:30], drawn[12:52, 60:100] = 255, 255
    write(tmp_path / "mask.png", Photograph(drawn, None))
    assert restore(job.source, "--out", tmp_path / "out", "--model", model, "--mask", tmp_path / "mask.png") == 1
    captured = capsys.readouterr()
    assert "a hole in a face stays" in captured.err
    assert captured.out == f"restored 1 face in 1 of 1 photograph into {tmp_path / 'out'}\n"


def test_a_video_that_is_not_restored_is_counted_as_one(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda: always(*CORNERS))
    jobs(tmp_path, 1)
    (tmp_path / "in" / "film.mp4").write_bytes(b"hello")
    assert restore(tmp_path / "in", "--out", tmp_path / "out", "--model", model, "--compare") == 1
    captured = capsys.readouterr()
    assert "--compare is for photographs" in captured.err
    first, second = captured.out.splitlines()
    assert first.startswith("restored 3 faces in 1 of 1 photograph into")
    assert second.startswith("restored 0 of 1 video into")


def test_passwords_of_addresses_are_in_no_report(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(subjects, "load_locator", lambda **_: always(*CORNERS))
    (job,) = jobs(tmp_path, 1)
    addresses = ("rtsp://admin:hunter2@cam/1", "srt://admin:hunter2@cam/1")
    arguments = [*addresses, os.fspath(job.source), "--out", os.fspath(tmp_path / "out"), f"--model={model}"]
    monkeypatch.setattr("sys.argv", ["faceflax", "restore", *arguments])
    assert restore(*arguments) == 1
    said = capsys.readouterr().err
    command = json.loads((tmp_path / "out" / "00.json").read_text())["command"]
    assert "rtsp://cam/1" in command and f"--model={model}" in command
    assert "hunter2" not in command and "hunter2" not in said and said.count("\n") == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--upscale", "9"), "--upscale 9 is out of range"),
        (("--aligned", "--compare"), "--compare is for whole photographs"),
        (("--aligned", "--upscale", "2"), "--upscale is for whole photographs"),
        (("--mask", "auto", "--segmenter", "x"), "--mask auto is for face crops"),
    ],
)
def test_options_that_do_not_fit(change, sentence, tmp_path, model, capsys):
    assert restore("x.png", "--out", tmp_path / "out", "--model", model, *change) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
