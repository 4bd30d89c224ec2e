"""A trial of recognition: faces and people as they are named, vectors kept and made anew when they must be, tables."""

import csv
import io
import subprocess
import sys

import cv2
import numpy as np
import pytest

from configs.recognition import get_config
from faceflax.datasets import images, registry
from faceflax.datasets.face_folder.face_folder import FaceFolderConfig
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.models import face_encoder, shipped
from faceflax.recognition import costs, trial, trial_report, verification
from faceflax.training import parallel
from tests import tiny, untrained

SIZE = 32
PEOPLE, EACH = 4, 3


def _source():
    """Photographs higher than wide, of people told apart by their colours, each with noise of its own."""
    rng = np.random.default_rng(0)
    examples, everybody = [], rng.integers(60, 200, (5, 4, 3))
    for person in range(PEOPLE):
        coarse = everybody + rng.normal(0, 12, (5, 4, 3))
        for _ in range(EACH):
            noisy = np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)
            picture = cv2.resize(noisy, (40, 50), interpolation=cv2.INTER_CUBIC)
            examples.append({"image": images.encode_png(picture), "who": 70 + person})
    return examples


def _thumbnail(version, calls):
    """An encoder: the picture's coarse colours, centred."""

    def describe(pictures):
        calls.append(len(pictures))
        coarse = np.stack([cv2.resize(p, (4, 4), interpolation=cv2.INTER_AREA) for p in pictures]).astype(np.float32)
        vectors = coarse.reshape(len(pictures), -1) - 128
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return trial.Describer(version, describe)


def _trial(folder, describers, restorers=None):
    faces = trial.load_faces(_source(), "who", SIZE, 0)
    return trial.Trial(faces, describers, restorers or {}, folder=folder, devices=parallel.one_device(), batch_size=5)


def test_faces_are_framed_and_people_numbered():
    source = _source()
    stretched = trial.load_faces(source, "who", SIZE, 0)
    assert stretched.image.shape == (12, SIZE, SIZE, 3) and stretched.image.dtype == np.uint8
    np.testing.assert_array_equal(stretched.person, np.repeat(np.arange(PEOPLE), EACH))
    framed = trial.load_faces(source, "who", 100, 2.0).image[0]  # 50 pixels high in a canvas of 100
    picture = images.decode(source[0]["image"])
    np.testing.assert_array_equal(framed[25:75, 30:70], picture)
    np.testing.assert_array_equal(framed[10, 30:70], picture[0])
    np.testing.assert_array_equal(framed[25:75, 90], picture[:, -1])


def test_faces_without_people_are_refused():
    source = _source()
    for wrong, label in ((source, "identity"), ([], "who"), (source[: EACH + 1], "who")):
        with pytest.raises(UserError, match="recognition needs"):
            trial.load_faces(wrong, label, SIZE, 0)


def test_vectors_are_made_once_and_anew_when_the_encoder_changes(tmp_path):
    calls = []
    task = Task("noise", 50.0)
    first = _trial(tmp_path, {"a": _thumbnail("1", calls)}).vectors(trial.DEGRADED, task)["a"]
    again = _trial(tmp_path, {"a": _thumbnail("1", calls)}).vectors(trial.DEGRADED, task)["a"]
    np.testing.assert_array_equal(first, again)
    assert calls == [12]
    file = tmp_path / "a" / trial.DEGRADED / "noise_50.npz"
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(
        _trial(tmp_path, {"a": _thumbnail("1", calls)}).vectors(trial.DEGRADED, task)["a"], first
    )
    _trial(tmp_path, {"a": _thumbnail("2", calls)}).vectors(trial.DEGRADED, task)
    assert calls == [12, 12, 12]


def test_vectors_of_other_damage_are_made_anew(tmp_path, monkeypatch):
    calls = []
    for code in ("one", "one", "another"):
        monkeypatch.setattr(trial, "_damage", lambda code=code: code)
        made = _trial(tmp_path, {"a": _thumbnail("1", calls)})
        made.vectors(trial.CLEAN, None)
        made.vectors(trial.DEGRADED, Task("noise", 50.0))
    assert calls == [12, 12, 12]  # clean faces once, damaged ones twice


def test_the_same_damage_reaches_every_restorer_and_holes_are_filled(tmp_path):
    seen = []

    def restore(image, mask):
        seen.append((image, mask))
        return np.where(mask > 0, 2.0, image)

    describers = {"a": _thumbnail("1", [])}
    restorers = {"white": trial.Restorer("1", restore), "nothing": trial.Restorer("1", lambda image, mask: image)}
    made, task = _trial(tmp_path, describers, restorers), Task("occlude", 25.0)
    degraded = made.vectors(trial.DEGRADED, task)["a"]
    np.testing.assert_array_equal(made.vectors("nothing", task)["a"], degraded)
    assert not np.allclose(made.vectors("white", task)["a"], degraded)
    assert len(seen) == 3 and all(len(image) == 5 and 0.1 < mask.mean() < 0.4 for image, mask in seen)


def test_restorers_have_names_of_their_own(tmp_path):
    devices = parallel.one_device()
    folder = untrained.make_workdir(tmp_path / "cnn", SIZE)
    loaded = trial.load_restorers([f"mine={folder}"], devices)["mine"]
    image, mask = (
        np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32),
        np.zeros((2, SIZE, SIZE, 1), np.float32),
    )
    np.testing.assert_allclose(loaded.restore(image, mask), image, atol=1e-5)
    for named in ([f"degraded={folder}"], [f"a={folder}", f"a={folder}"], [f"={folder}"]):
        with pytest.raises(UserError, match="write NAME=WORKDIR"):
            trial.load_restorers(named, devices)


def test_the_report_holds_every_row_and_damage_shows(tmp_path):
    made = _trial(tmp_path / "vectors", {"a": _thumbnail("1", [])})
    known, rows = made.vectors(trial.CLEAN, None)["a"], []
    for way, task in (
        (trial.CLEAN, None),
        (trial.DEGRADED, Task("occlude", 50.0)),
        (trial.DEGRADED, Task("noise", 15.0)),
    ):
        person = trial.load_faces(_source(), "who", SIZE, 0).person
        rows.append(trial_report.measure("a", way, task, known, made.vectors(way, task)["a"], person, resamples=50))
    clean, occluded, noisy = rows
    assert clean.values["rank1"].mean == 1 and clean.values["auc"].mean > 0.99
    assert occluded.values["auc"].mean < noisy.values["auc"].mean
    shown = trial_report.tables(rows)
    written = trial_report.write(rows, shown, tmp_path / "report", {"commit": "c0ffee"}, "signed")
    assert all(path.stat().st_size for path in written)
    table = list(csv.DictReader(io.StringIO((tmp_path / "report" / "table.csv").read_text())))
    assert [(row["way"], row["task"], row["severity"]) for row in table] == [
        ("clean", "clean", ""),
        ("degraded", "occlude", "50"),
        ("degraded", "noise", "15"),
    ]
    for row, measured in zip(table, rows, strict=True):
        assert float(row["auc"]) == pytest.approx(measured.values["auc"].mean, abs=1e-5)
        assert float(row["auc_low"]) <= float(row["auc"]) <= float(row["auc_high"])
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "occlude 50" in markdown and "signed" in markdown and "rank-1 by task" in markdown
    assert "2 people enrolled, then the other 2; of both together 8 searches for enrolled people and 12 for" in markdown
    assert "FNIR at FPIR 1e-2 by task" in markdown and table[0]["fnir_1e-2"] == ""  # 12 searches for strangers are few


def test_every_column_is_its_measure_with_an_interval_over_people():
    """Twelve people are 144 searches for strangers, enough for a rate of 1 in 100."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(12), 12)
    known, sought = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for vectors in (
            rng.standard_normal((12, 16))[person] + noise * rng.standard_normal((144, 16)) for noise in (1.0, 1.0)
        )
    )
    similarity = known @ sought.T
    rate, threshold = verification.fnir_at_fpir(verification.searches(similarity, person), 1e-2)
    first, others = np.arange(0, 144, 12), np.setdiff1d(np.arange(144), np.arange(0, 144, 12))
    rank1, rank5 = (
        verification.found_within(similarity[np.ix_(first, others)], person[first], person[others], rank).mean()
        for rank in (1, 5)
    )
    curve = verification.roc(verification.pairs(similarity, person))
    expected = {
        "rank1": rank1,
        "rank5": rank5,
        "tar_1e-2": verification.tar_at_far(curve, 1e-2),
        "tar_1e-3": verification.tar_at_far(curve, 1e-3),
        "eer": verification.equal_error_rate(curve),
        "auc": verification.auc(curve),
        "fnir_1e-2": rate,
        "threshold_1e-2": threshold,
    }
    row = trial_report.measure("a", trial.DEGRADED, Task("noise", 15.0), known, sought, person, resamples=50)
    assert list(row.values) == list(expected) and len(set(expected.values())) == len(expected)
    for metric, value in expected.items():
        mean, low, high = row.values[metric]
        assert mean == pytest.approx(value) and low < high, metric


@pytest.mark.slow
def test_the_program_measures_a_folder_of_people(tmp_path):
    for number, example in enumerate(_source()):
        path = tmp_path / "people" / str(example["who"]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(example["image"])
    place = str(tmp_path / "data")
    registry.build(
        registry.builder("people_folder", data_dir=place, config=FaceFolderConfig(folder=tmp_path / "people"))
    )
    command = [sys.executable, "-m", "experiments.recognition", "--config=configs/recognition.py"]
    command += [f"--workdir={tmp_path / 'run'}", f"--config.data.data_dir={place}", "--config.data.split=all"]
    command += ["--config.data.dataset=people_folder", f"--config.data.folder={tmp_path / 'people'}"]
    command += ["--config.encoders='compact',", "--config.tasks='noise 50',", "--config.restorers=()"]
    command += ["--config.data.image_size=32", "--config.resamples=5", "--config.rounds=0", "--config.batch_size=4"]
    done = subprocess.run(command, cwd=tiny.ROOT, env=tiny.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "report" / "table.csv").open()))
    assert [(row["encoder"], row["way"], row["task"]) for row in rows] == [
        ("compact", "clean", "clean"),
        ("compact", "degraded", "noise"),
    ]
    assert "12 photographs of 4 people at 32x32" in rows[0]["signature"]


def test_every_shipped_restorer_is_measured():
    names = {path.stem for path in shipped.FOLDER.glob("*.safetensors")}
    assert set(get_config("restored").restorers) == names and get_config().restorers == ()


def test_costs_are_counted_and_shown_beside_the_first(monkeypatch):
    small, large = (np.zeros((192, size), np.float32) for size in (8, 32))
    params = {"small": small, "large": large}

    def load(name):
        embed = lambda params, image: image[:, :8, :8].reshape(len(image), 192) @ params  # noqa: E731
        return face_encoder.FaceEncoder(name, "1", params[name].shape[1], 8, None, embed), params[name]

    monkeypatch.setattr(face_encoder, "load", load)
    measured = costs.measure(["small", "large"], parallel.one_device(), image_size=16, batch_size=4, rounds=2)
    assert measured["small"].parameters == 192 * 8 and measured["large"].size == 32
    assert measured["large"].flops == pytest.approx(2 * 192 * 32, rel=0.1)
    assert all(cost.milliseconds > 0 for cost in measured.values())
    row = costs.to_table(measured).rows[1]
    assert row[0] == "large" and float(row[4]) == pytest.approx(4, rel=0.1)
