"""A comparison from its configuration to its report, with classical methods and a restorer that returns its input."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from configs.comparison import get_config
from faceflax.datasets import images, registry
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.comparison import damage, methods, report, runner
from tests import untrained

SIZE, FACES = 32, 6


def _config(**fields):
    config = ConfigDict(get_config().to_dict())
    config.restorers, config.alternatives = (), ("lanczos", "telea", "mean_face", "bm3d", "nlm")
    config.tasks = ("sr 4", "box 25")
    config.data.dataset, config.data.folder, config.data.split = "mini_faces", "", f"test[:{FACES}]"
    config.data.image_size, config.eval.judges, config.eval.batch_size = SIZE, (), 4
    with config.unlocked():
        config.update(fields)
    return config


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison that was measured, with bm3d not installed and one alternative that cannot be fetched."""
    folder = tmp_path_factory.mktemp("comparison")
    workdir = untrained.make_workdir(folder / "model", SIZE)

    def unreachable(mean):
        raise UserError("cannot fetch it: no network")

    with pytest.MonkeyPatch.context() as patch:
        known = methods.ALTERNATIVES
        patch.setitem(known, "bm3d", dataclasses.replace(known["bm3d"], packages={"no-such-package": "no_such_module"}))
        patch.setitem(known, "telea", dataclasses.replace(known["telea"], load=unreachable))
        comparison = runner.Comparison(_config(restorers=(f"mine={workdir}",)))
        advanced = []
        comparison.measure(folder, advanced.append)
        results, written = runner.write(comparison, folder, folder / "docs")
    return folder, results, written, sum(advanced)


def test_every_method_is_measured_on_its_tasks(compared):
    folder, results, _, advanced = compared
    found = {(path.parent.name, path.stem) for path in (folder / "cells").glob("*/*.npz")}
    both = {("input", "sr_4"), ("input", "box_25"), ("mine", "sr_4"), ("mine", "box_25")}
    assert found == both | {("lanczos", "sr_4"), ("mean_face", "box_25")}
    assert advanced == len(found)
    status = {name: entry.status for name, entry in results.entries.items()}
    assert set(status) == {"input", "mine", *methods.ALTERNATIVES}
    assert {name: status[name] for name in ("input", "mine", *_config().alternatives, "biharmonic")} == {
        **dict.fromkeys(["input", "mine", "lanczos", "mean_face"], "measured"),
        "telea": "its weights could not be fetched",
        "bm3d": "not installed: pip install no-such-package",
        "nlm": "for none of these tasks",
        "biharmonic": "left out of this run",
    }


def test_scores_are_of_the_damaged_faces_and_no_picture_is_kept(compared):
    folder, results, *_ = compared
    source = registry.load("mini_faces", f"test[:{FACES}]")
    faces = [images.square(images.decode(source[number]["image"]), SIZE) for number in range(FACES)]
    error = [
        np.mean(np.square(damage.apply(face, Task("box", 25), number).image.astype(float) - face))
        for number, face in enumerate(faces)
    ]
    cell = cells.read(cells.path(folder, "input", Task("box", 25)))
    assert np.allclose(cell.scores["psnr"], 10 * np.log10(255**2 / np.array(error)), atol=1e-3)
    assert not cell.pictures.size  # they may be photographs of people
    assert not cell.failed.any()


def test_a_restorer_that_returns_its_input_gains_nothing(compared):
    _, results, *_ = compared
    assert results.gain("mine", "input", Task("sr", 4)) == (0, 0, 0)
    assert results.ours == ["mine"] and results.value("mine", Task("sr", 4), "seconds") > 0


def test_gains_are_paired(compared):
    _, results, *_ = compared
    task = Task("box", 25)
    differences = results.cells["mean_face", task].scores["psnr"] - results.cells["input", task].scores["psnr"]
    expected = stats.bootstrap([differences], np.mean, method="percentile", rng=0).confidence_interval
    found = results.gain("mean_face", "input", task)
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.1 * differences.std())
    assert results.best(task) == "mean_face" and results.best(task, blind=True) is None


def test_the_report_says_the_same_in_every_format(compared):
    folder, results, written, _ = compared
    assert [path.name for path in written][0] == "scores.csv" and all(path.stat().st_size for path in written)
    rows = list(csv.DictReader((folder / "report" / "scores.csv").open()))
    assert len(rows) == 6
    (row,) = [row for row in rows if (row["method"], row["task"]) == ("lanczos", "sr")]
    mean = results.cells["lanczos", Task("sr", 4)].scores["psnr"].mean()
    assert float(row["psnr"]) == pytest.approx(mean, abs=1e-5)
    page = (folder / "docs" / "comparison.md").read_text()
    assert page == (folder / "report" / "report.md").read_text() and (folder / "docs" / report.PICTURE).exists()
    for text in (page, (folder / "report" / "index.html").read_text()):
        assert f"{mean:.2f}" in text and "pip install no-such-package" in text and "damaged set" in text
    manifest = json.loads((folder / "report" / "manifest.json").read_text())
    assert manifest["dataset"]["images"] == FACES and manifest["config"]["data"]["folder"] == ""
    assert str(folder) not in page


def test_what_was_measured_is_not_measured_again(compared, monkeypatch):
    folder, *_ = compared
    comparison = runner.Comparison(_config(alternatives=("lanczos", "mean_face")))

    def fail(mean):
        raise AssertionError("it was measured before")

    for name in ("lanczos", "mean_face"):
        monkeypatch.setitem(comparison._alternatives, name, dataclasses.replace(methods.ALTERNATIVES[name], load=fail))
    comparison.measure(folder)
    monkeypatch.setitem(
        comparison._alternatives,
        "lanczos",
        dataclasses.replace(methods.ALTERNATIVES["lanczos"], load=fail, packages={"numpy": "numpy"}),
    )
    with pytest.raises(AssertionError, match="before"):  # made of something else: stale
        comparison.measure(folder)


def test_a_restorer_that_cannot_stand_in_the_table_is_refused(compared):
    workdir = compared[0] / "model"
    config = _config(restorers=(f"mine={workdir}",))
    config.data.image_size = 64
    with pytest.raises(UserError, match='"mine" was trained at 32 pixels; add --config.data.image_size=32'):
        runner.Comparison(config)
    with pytest.raises(UserError, match='names "telea" twice, or as a column is named'):
        runner.Comparison(_config(restorers=(f"telea={workdir}",)))
