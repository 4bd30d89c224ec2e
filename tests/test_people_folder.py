"""A folder of people's folders as a training set: the photographs that a gallery exports."""

import numpy as np
import pytest

from faceflax.datasets import registry, stream
from faceflax.errors import UserError
from tests import tiny
from tests.commands import run
from tests.crowd import face

pytestmark = pytest.mark.usefixtures("invented")


def build(folder, place):
    assert run("datasets", "build", "people_folder", "--folder", folder, "--data-dir", place) == 0
    source = registry.load("people_folder", "all", data_dir=str(place), folder=str(folder))
    return [source[number] for number in range(len(source))]


def test_photographs_that_a_gallery_exports_are_a_training_set(tmp_path, gallery, people, capsys):
    out = tmp_path / "set"
    assert run("gallery", "export", "--gallery", gallery, "--out", out, "--photographs", people) == 0
    examples = build(out, tmp_path / "data")
    expected = {
        path.read_bytes(): number
        for number, name in enumerate(("Ann", "Bob", "Zoë"))
        for path in (people / name).iterdir()
    }
    assert {example["image"]: example["identity"] for example in examples} == expected
    data = tiny.config().data
    data.update({"image_size": 32, "batch_size": 9, "flip": False})
    source = registry.load("people_folder", "all", data_dir=str(tmp_path / "data"), folder=str(out))
    batches = stream.train_stream(source, data, seed=0, features={"label": "identity"})
    np.testing.assert_array_equal(np.sort(next(batches)["label"]), np.repeat(np.arange(3), 3))
    batches.close()
    face(out / "Ann" / "new.png", 0, 7)
    with pytest.raises(
        UserError, match="changed since their dataset was built: run faceflax datasets build people_folder"
    ):
        registry.load("people_folder", "all", data_dir=str(tmp_path / "data"), folder=str(out))


def test_nobody_else_can_look_into_what_is_built_of_people(tmp_path, people):
    place = tmp_path / "data" / "people_folder"
    place.mkdir(parents=True)
    place.chmod(0o755)
    build(people, tmp_path / "data")
    assert place.stat().st_mode & 0o777 == 0o700


def test_splits_are_no_people_and_who_lies_beside_them_is_left_out(tmp_path, capsys):
    folder = tmp_path / "folder"
    for path in ("train/Ann/1.png", "train/Bob/deep/1.png", "validation/Ann/2.png", "alone.png", "test/alone.png"):
        face(folder / path, len(path))
    examples = build(folder, tmp_path / "data")
    names = {example["name"].decode(): int(example["identity"]) for example in examples}
    assert names == {"train/Ann/1.png": 0, "train/Bob/deep/1.png": 1, "validation/Ann/2.png": 0}
    assert "alone.png: it lies in no person's folder" in capsys.readouterr().out


def test_a_folder_of_nobody_is_refused(tmp_path, capsys):
    face(tmp_path / "folder" / "alone.png", 1)
    words = ("datasets", "build", "people_folder", "--folder", tmp_path / "folder", "--data-dir", tmp_path / "data")
    assert run(*words) == 1
    assert "holds no folder of photographs for each person; use face_folder" in capsys.readouterr().err
