"""`faceflax normalize` from the command line: names, records, and sentences for what is bad."""

import json
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from faceflax.preprocessing import chain
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.landmarks import TEMPLATE
from tests import faces, normalizing
from tests.normalizing import FACES, names, normalize, two_faces


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    normalizing.use_networks(monkeypatch)


def test_faces_and_records(tmp_path, capsys):
    write(tmp_path / "in" / "sub" / "two.png", Photograph(two_faces(), None))
    write(tmp_path / "in" / "grey.png", Photograph(cv2.cvtColor(FACES[2], cv2.COLOR_RGB2GRAY), None))
    write(tmp_path / "in" / "deep.png", Photograph(FACES[3].astype(np.uint16) * 257, None))
    assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", "96", workers=2) == 0
    expected = ["deep.json", "deep.png", "grey.json", "grey.png", "sub/two+2.png", "sub/two.json", "sub/two.png"]
    assert names(tmp_path / "out") == expected
    assert capsys.readouterr().out == f"normalised 3 of 3 sources, 4 faces, into {tmp_path / 'out'}\n"
    record = json.loads((tmp_path / "out" / "sub" / "two.json").read_text())
    assert record["settings"]["size"] == 96 and [face["file"] for face in record["faces"]] == ["two.png", "two+2.png"]
    for face in record["faces"]:
        assert {"box", "points", "score", "mesh", "matrix", "relight", "denoise"} <= set(face)
        made = Alignment(96, np.array(face["matrix"]))
        assert np.abs(made.to_crop(np.array(face["points"])) - 96 * TEMPLATE).max() < 0.07 * 96
    assert record["faces"][0]["mesh"]["roll"] == pytest.approx(10, abs=5)
    assert read(tmp_path / "out" / "grey.png").pixels.shape == (96, 96)
    crop = read(tmp_path / "out" / "deep.png").pixels
    assert np.corrcoef(crop.ravel(), cv2.resize(FACES[3], (96, 96)).ravel())[0, 1] > 0.8


def test_bad_files_get_a_sentence_each_and_the_rest_is_done(tmp_path, capfd):
    source = tmp_path / "in"
    write(source / "good.png", Photograph(FACES[0], None))
    encoded = cv2.imencode(".jpg", FACES[1])[1].tobytes()
    png = bytearray((source / "good.png").read_bytes())
    png[16:24] = struct.pack(">II", 50_000, 50_000)
    bad = {
        b"text.jpg": (b"hello\n" * 99, "not a JPEG"),
        b"empty.png": (b"", "the file is empty"),
        b"cut.jpg": (encoded[: len(encoded) // 2], "truncated"),
        b"bomb.png": (bytes(png), "50000x50000 pixels are more than the 100 million"),
        b"nobody.png": (cv2.imencode(".png", faces.background(90, 90))[1].tobytes(), "no face found"),
        b"caf\xe9.jpg": (b"hello", "not a JPEG"),
        b"clip.mp4": (b"hello", "is no video that can be decoded"),
    }
    for name, (data, _) in bad.items():
        (source / os.fsdecode(name)).write_bytes(data)
    words = cv2.imencode(".png", FACES[3])[1].tobytes()  # of which libpng would say that its profile is damaged
    body = b"iCCPx\0\0damaged"
    block = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (source / "words.png").write_bytes(words[:33] + block + words[33:])
    (source / os.fsdecode(b"fa\xe7e.png")).write_bytes(cv2.imencode(".png", FACES[2][..., ::-1])[1].tobytes())
    arguments = (source, tmp_path / "none.png", "--out", tmp_path / "out", "--size", "64")
    assert normalize(*arguments, workers=1) == 1
    captured = capfd.readouterr()
    assert captured.out == f"normalised 3 of 11 sources, 3 faces, into {tmp_path / 'out'}\n"
    lines = captured.err.splitlines()
    assert len(lines) == len(bad) + 1
    assert all(line.startswith("error: ") and "; " in line for line in lines)  # what is wrong, and what to do
    for name, (_, reason) in bad.items():
        shown = name.decode(errors="replace")
        assert [line for line in lines if shown in line and reason in line], (shown, lines)
    assert [line for line in lines if "none.png: no such file" in line]
    assert normalize(*arguments) == 1
    captured = capfd.readouterr()
    assert captured.err.count("error: ") == len(lines)  # nothing is forgotten, and who has no face is not done
    assert captured.out == f"normalised 3 of 11 sources (3 done already), 3 faces, into {tmp_path / 'out'}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two points\nare one"), "a fault of faceflax; please report it: ValueError: two points are one"),
        (cv2.error("(-215) !empty"), "(-215) !empty"),
        (KeyError("Make"), "KeyError: 'Make'"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_file_that_nobody_foresaw_is_one_sentence_too(tmp_path, capsys, monkeypatch, error, said):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", Photograph(FACES[number], None))
    normalise_face = chain.normalise_face

    def fail_once(pixels, *others):
        if (pixels == FACES[1]).all():
            raise error
        return normalise_face(pixels, *others)

    monkeypatch.setattr(chain, "normalise_face", fail_once)
    assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", "64") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("normalised 2 of 3 sources, 2 faces")
    assert captured.err.count("\n") == 1 and f"error: {tmp_path / 'in' / '1.png'}: " in captured.err
    assert said in captured.err
    assert names(tmp_path / "out") == ["0.json", "0.png", "2.json", "2.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--template", "square"), "choose one of ffhq, arcface"),
        (("--size", "4"), "choose 16 to 2048 pixels"),
        (("--every", "0"), "make it 1 or more"),
        (("--max-yaw", "-5"), "choose 0 to 180 degrees"),
        (("--min-side", "nan"), "choose 0 or more"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, sentence):
    assert normalize(tmp_path, "--out", tmp_path / "out", *arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_name_that_is_nearly_too_long_is_one_sentence(tmp_path, capsys):
    write(tmp_path / "in" / f"{'n' * 236}.png", Photograph(FACES[0], None))
    (tmp_path / "in" / f"{'n' * 251}.png").touch()
    for size in (64, 48):
        assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", size) == 1
        said = capsys.readouterr()
        assert said.out.startswith("normalised 1 of 2 sources, 1 face, into")
        assert "its name is too long" in said.err and said.err.count("\n") == 1


def test_a_run_without_a_result_leaves_no_folder_that_it_made(tmp_path, capsys):
    (tmp_path / "text.jpg").write_bytes(b"hello")
    assert normalize(tmp_path / "text.jpg", "--out", tmp_path / "new" / "out") == 1
    assert not (tmp_path / "new").exists()


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    write(tmp_path / "a.png", Photograph(FACES[0], None))
    (tmp_path / "out").write_text("a file")
    for out, sentence in (
        (tmp_path / "out", "is a file; name a folder"),
        (tmp_path / "out" / "sub", "cannot make the"),
    ):
        assert normalize(tmp_path / "a.png", "--out", out) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
