import numpy as np
import pytest
from PIL import Image

from faceflax import cli


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(["datasets", *map(str, arguments)])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_list_tells_what_is_built(capsys, tmp_path):
    command(capsys, "build", "mini_faces", "--data-dir", tmp_path)
    status, out, _ = command(capsys, "list", "--data-dir", tmp_path)
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert status == 0
    assert " 500 " in lines["mini_faces"]
    assert "not built" in lines["orl_faces"]


def test_show_tells_splits_licence_and_fingerprints_and_draws_a_sheet(capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    status, out, _ = command(capsys, "show", "mini_faces", "--data-dir", tmp_path, "--out", sheet)
    assert status == 0
    for expected in (
        "train: 400 images, fingerprint ",
        "FFHQ",
        "image (uint8 128x128x3)",
        str(tmp_path / "mini_faces"),
    ):
        assert expected in out
    picture = np.asarray(Image.open(sheet))
    assert picture.shape == (768, 768, 3)
    assert picture.std() > 30


def test_build_reports_what_it_skipped(capsys, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.effect_noise((64, 64), 50).convert("RGB").save(folder / "good.png")
    (folder / "bad.jpg").write_bytes(b"x")
    arguments = ("face_folder", "--folder", folder, "--data-dir", tmp_path / "data")
    status, out, _ = command(capsys, "build", *arguments)
    assert status == 0
    assert ": 1 images" in out
    assert "bad.jpg: not an image that can be decoded" in out
    assert command(capsys, "show", *arguments)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "orl_faces"), "run faceflax datasets build orl_faces"),
        (("build", "face_folder"), "--folder FOLDER"),
        (("build", "no_such_dataset"), "faceflax datasets list"),
        (("build", "synthetic_faces", "--size", "4096"), "16 to 1024"),
    ],
)
def test_a_mistake_is_one_plain_sentence(capsys, tmp_path, arguments, words):
    status, out, err = command(capsys, *arguments, "--data-dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert words in err
