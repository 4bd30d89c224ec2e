"""Cells hold what the evaluation measures; the same cells give the same bytes; what is stale is measured again."""

import csv
import dataclasses
import io
import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ship import ship
from faceflax import aside, models
from faceflax import config as config_lib
from faceflax.datasets import registry
from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation import judges, measure
from faceflax.evaluation.benchmark import cells, discriminators, efficiency, measuring, plan, runner, settings
from faceflax.evaluation.benchmark import faces as faces_lib
from faceflax.evaluation.judges import networks
from faceflax.evaluation.runner import Evaluator
from faceflax.files import write_json
from faceflax.models import discriminator, perceptual, shipped
from faceflax.training import checkpoints, parallel, workdir
from faceflax.training.trained import load_restorer
from tests import random_networks, untrained

SIZE, COUNT = 32, 6
SHIPPED = {"commit": "c0ffee", "command": "train", "versions": {}, "device": {}, "seed": 0}
NOISE, HOLE = Task("noise", 50), Task("occlude", 20)  # the second is in the curve alone


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """Of each arm; its seeds are one training, which is nobody's business here."""
    folder = tmp_path_factory.mktemp("trained")
    return {arm: str(untrained.make_workdir(folder / arm, SIZE, arm)) for arm in ("cnn", "gan")}


def make_settings(workdirs):
    experiment = config_lib.default()
    experiment.data.image_size = SIZE
    other = config_lib.from_json(config_lib.to_json(experiment))
    other.arm, other.eval.best_metric = "gan", "step"
    config = settings.create({"cnn": experiment, "gan": other})
    config.seeds = (0, 1)
    config.trained.cnn, config.trained.gan = ((workdirs[arm],) * 2 for arm in ("cnn", "gan"))
    config.data.image_size = SIZE
    config.eval.tasks, config.eval.curve = (str(NOISE),), (20,)
    config.eval.max_images, config.eval.batch_size = COUNT, 4
    config.compare.cnn = config.fidelity.cnn = "cnn"
    config.compare.gan = config.fidelity.gan = "gan"
    config.fidelity.points, config.fidelity.tasks = (0.0, 0.5, 1.0), (str(NOISE),)
    config.efficiency.rounds = 0
    return config


def run(config, workdir):
    runs = plan.runs(config, workdir)
    runner.measure(config, runs, workdir)
    results, _ = runner.report(config, runs, workdir)
    return results


def install_judges(patch):
    """Functions that cost little to compile, in place of networks."""

    def see(params, images):
        pixels = images.reshape(len(images), -1)[:, :256] + 0.1
        return pixels / jnp.linalg.norm(pixels, axis=1, keepdims=True)

    random_networks.install(patch)
    for name in ("identity", "kid"):
        patch.setitem(networks._FEATURES, name, see)
    patch.setitem(networks._FEATURES, "perceptual", lambda params, images: dict.fromkeys(perceptual.LAYERS, images))


@pytest.fixture(scope="module")
def measured(workdirs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("benchmark")
    (workdir / "report").mkdir()
    (workdir / "report" / "efficiency.csv").touch()
    with pytest.MonkeyPatch.context() as patch:
        install_judges(patch)
        config = make_settings(workdirs)
        return config, workdir, run(config, workdir)


def test_cells_hold_what_the_evaluation_measures(measured, workdirs):
    config, _, results = measured
    experiment = config_lib.default()
    experiment.data.image_size = SIZE
    experiment.eval.tasks, experiment.eval.batch_size = (str(NOISE),), config.eval.batch_size
    experiment.eval.max_images = COUNT
    devices = parallel.create({"data": -1, "fsdp": 1})
    trained = checkpoints.load_for_inference(Path(workdirs["cnn"]))
    source = registry.load("mini_faces", "test")
    evaluator = Evaluator(models.create(trained.config.model).apply, source, experiment, devices, baselines=True)
    (expected,) = evaluator(devices.replicate(trained.params))
    for method, name in (("input", "input"), ("baseline", "classical"), ("model", "cnn-0")):
        cell = results.cells[name, NOISE]
        np.testing.assert_array_equal(cell.index, expected.index)
        for metric, values in expected.scores[method].items():
            np.testing.assert_allclose(cell.scores[metric], values, rtol=1e-4, err_msg=f"{name} {metric}")


def test_judges_and_sets_are_measured(measured):
    _, _, results = measured
    cell = results.cells["input", NOISE]
    assert cell.descriptors["identity"].shape == (COUNT, 256) and cell.descriptors["kid"].dtype == np.float16
    expected = np.sum(cell.descriptors["identity"] * results.clean.descriptors["identity"], axis=1, dtype=np.float64)
    np.testing.assert_allclose(cell.scores["identity"], expected, atol=2e-3)
    mse = 10 ** (-cell.scores["psnr"] / 10)
    np.testing.assert_allclose(cell.scores["perceptual"], 3 * mse, rtol=1e-4)  # of pixels for features
    assert np.isfinite(cell.of_set["kid"])
    assert set(cell.scores["tar_identity_0.01"]) <= {0, 1} or np.isnan(cell.scores["tar_identity_0.01"]).all()
    assert np.isnan(cell.scores["tar_identity_0.001"]).all()
    assert cell.pictures.shape == (2, SIZE, SIZE, 3) and not cell.failed.any()


def test_discriminators_judge_real_faces_and_those_of_every_arm(measured, workdirs):
    _, workdir, results = measured
    (cell,) = discriminators.load(workdir, results, ["gan-1"])["gan-1"].values()
    assert set(cell.scores) == {"real", "cnn-1", "gan-1"}  # the arms of its seed
    opponent = checkpoints.load_discriminator(Path(workdirs["gan"]))
    clean, degraded = (measure.to_float(found.pictures) for found in (results.clean, results.cells["input", NOISE]))
    judge = discriminator.create(opponent.config.gan)
    expected = discriminator.discriminate(judge, opponent.params, clean, degraded, np.zeros((2, SIZE, SIZE, 1)))
    np.testing.assert_allclose(cell.scores["real"][:2], expected, rtol=1e-4)
    assert "Discriminator of gan" in (workdir / "report" / "report.md").read_text()


def test_methods_restore_once_for_all_stale_discriminators(tmp_path):
    image = np.full((2, 4, 4, 3), 200, np.uint8)
    faces = SimpleNamespace(
        batches=[{"image": image}],
        fingerprint="clean",
        degrade=lambda task: faces_lib.Degraded(task, [{"degraded": image, "mask": image[..., :1]}], "degraded"),
        real_rows=np.concatenate,
        index=np.arange(2),
        num_images=2,
    )
    restored = []

    def restore(degraded):
        restored.append(str(degraded.task))
        return [faces_lib.Restored(image // 2, np.zeros(2, bool))]

    def judge(scale, batch):
        return batch["image"].mean((1, 2, 3)) * scale

    method = measuring.Method("cnn-0", {}, restore, [NOISE])

    def fill(*variables):
        opponents = [
            discriminators.Opponent(f"gan{number}-0", judge, value, [method]) for number, value in enumerate(variables)
        ]
        discriminators.fill(tmp_path, faces, {NOISE: "degraded"}, opponents, parallel.one_device())
        found = [cells.read(cells.path(tmp_path, f"discriminator-gan{number}-0", NOISE)) for number in range(2)]
        return [{name: values.tolist() for name, values in cell.scores.items()} for cell in found]

    expected = [{"real": [200.0] * 2, "cnn-0": [100.0] * 2}, {"real": [400.0] * 2, "cnn-0": [200.0] * 2}]
    assert fill(1.0, 2.0) == fill(1.0, 2.0) == expected and restored == [str(NOISE)]
    assert fill(1.0, 3.0)[1]["real"] == [600.0] * 2 and len(restored) == 2


def test_everything_is_measured_and_reported(measured):
    _, workdir, results = measured
    assert {method for method, _ in results.cells} == {"input", "classical", "cnn-0", "cnn-1", "gan-0", "gan-1"} | {
        "fidelity_0.5"
    }
    assert ("cnn-1", HOLE) in results.cells and HOLE not in results.tasks
    page = (workdir / "report" / "index.html").read_text()
    assert not (workdir / "report" / "efficiency.csv").exists()  # of a former report
    assert "Do the claims hold?" in page and "Occlusion curve" in page and "not decided" in page
    manifest = json.loads((workdir / "report" / "manifest.json").read_text())
    assert set(manifest["degraded"]["tasks"]) == {"noise 50", "occlude 20"}
    assert manifest["degraded"]["fingerprint"] in (workdir / "report" / "report.md").read_text()
    assert manifest["measured_by"] == [cells.measurer()] and manifest["measured_by"][0]["jax"]
    assert manifest["runs"]["gan-1"]["step"] == 1 and set(manifest["judges"]) == {"perceptual", "identity", "kid"}


def test_stale_and_damaged_cells_are_measured_again_to_the_same_bytes(measured, workdirs, monkeypatch):
    config, workdir, results = measured
    install_judges(monkeypatch)
    report = workdir / "report"
    before = {file.name: file.read_bytes() for file in report.iterdir()}
    fresh = cells.path(workdir, "input", NOISE)
    stale, damaged = cells.path(workdir, "gan-0", HOLE), cells.path(workdir, "cnn-1", NOISE)
    judged = cells.path(workdir, "discriminator-gan-0", NOISE)
    old = results.cells["gan-0", HOLE]
    spoilt = old.scores | {"psnr": old.scores["psnr"] + 1}
    cells.write(stale, dataclasses.replace(old, made_from={"params": "other"}, scores=spoilt))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    times = {file: file.stat().st_mtime_ns for file in (fresh, judged, stale, damaged)}
    run(config, workdir)
    changed = {file for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {stale, damaged}
    after = {file.name: file.read_bytes() for file in report.iterdir()}
    assert set(after) == set(before)
    same = {"scores.csv", "differences.csv", "report.md", "report.tex", "occlusion.png", "faces.jpg", "fidelity.png"}
    assert {name for name in before if before[name] == after[name]} >= same
    assert str(workdir) not in before["scores.csv"].decode() + before["differences.csv"].decode()


def test_another_report_of_whole_cells_needs_no_judge_and_no_degraded_faces(measured, tmp_path, monkeypatch):
    config, workdir, _ = measured
    shutil.copytree(workdir, tmp_path / "copy")
    install_judges(monkeypatch)
    monkeypatch.setattr(cells, "measurer", lambda: {"commit": "c0ffee", "jax": "1"})
    run(config, tmp_path / "copy")  # knows the fingerprints of this commit now

    def refuse(*args):
        raise AssertionError("nothing is stale")

    monkeypatch.setattr(faces_lib.Faces, "degrade", refuse)
    monkeypatch.setattr(faces_lib, "load_judges", refuse)
    other = config.copy_and_resolve_references()
    other.compare.cnn, other.compare.gan, other.eval.faces = "gan", "cnn", 1
    run(other, tmp_path / "copy")
    made = (tmp_path / "copy" / "report" / "differences.csv").read_text()
    assert ",cnn,gan," in made and made != (workdir / "report" / "differences.csv").read_text()
    manifests = [json.loads((each / "measured.json").read_text()) for each in (workdir, tmp_path / "copy")]
    for name in ("judges", "degraded"):
        assert manifests[0][name] == manifests[1][name]
    for changed in ({"commit": "c0ffee+changes", "jax": "1"}, {"commit": "decade", "jax": "1"}):
        monkeypatch.setattr(cells, "measurer", lambda changed=changed: changed)
        with pytest.raises(AssertionError, match="nothing is stale"):
            run(other, tmp_path / "copy")


def test_two_images_of_one_person_are_no_impostors(tmp_path, monkeypatch):
    install_judges(monkeypatch)
    config, faces = make_settings({"cnn": "", "gan": ""}), registry.load("mini_faces", "test")
    config.eval.judges, config.eval.max_images, config.eval.batch_size = ("identity",), 0, 12
    source = [{"image": faces[number // 2]["image"], "who": f"person {number // 2}"} for number in range(12)]

    def measure_with(label, source):
        found = faces_lib.Faces(source, config, [NOISE], parallel.one_device(), label)
        measuring.fill(tmp_path, found, [measuring.untouched([NOISE])])
        cell = cells.read(cells.path(tmp_path, "input", NOISE))
        return found, cell, cell.scores["tar_identity_0.01"]

    anonymous, cell, without = measure_with("", source)
    known, _, accepted = measure_with("who", source)
    vectors = known.clean.descriptors["identity"], cell.descriptors["identity"]
    expected = judges.verification(*vectors, 0.01, np.arange(12) // 2)
    np.testing.assert_array_equal(accepted, expected)
    np.testing.assert_array_equal(without, judges.verification(*vectors, 0.01))
    assert without.mean() < accepted.mean() and anonymous.people is None
    named = [{"image": each["image"], "identity": each["who"]} for each in source]
    assert faces_lib.Faces(named, config, [NOISE], parallel.one_device()).made_from == known.made_from
    alone = faces_lib.Faces(named[::2], config, [NOISE], parallel.one_device())
    assert alone.people is None and "people" not in alone.made_from
    with pytest.raises(UserError, match="no feature 'name'"):
        faces_lib.Faces(source, config, [NOISE], parallel.one_device(), "name")


def test_dlib_is_known_by_its_version_and_missing_it_is_one_sentence(monkeypatch):
    config, faces = make_settings({"cnn": "", "gan": ""}), registry.load("mini_faces", "test")
    config.eval.judges = ("dlib",)
    monkeypatch.setattr(faces_lib, "DlibJudge", lambda: SimpleNamespace(version="20.0 and these weights"))
    found = faces_lib.Faces(faces, config, [NOISE], parallel.one_device())
    assert found.made_from["judges"] == {"dlib": "20.0 and these weights"}
    monkeypatch.undo()
    random_networks.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "dlib", None)
    config.eval.judges = ("identity", "dlib")
    without = r"pip install 'faceflax\[judge\]', or evaluate without it: --config.eval.judges=\"\('identity',\)\"$"
    with pytest.raises(UserError, match=without):
        faces_lib.load_judges(config)


def test_costs_are_those_of_the_programs(workdirs, tmp_path):
    config, workdir = make_settings(workdirs), Path(workdirs["cnn"])
    config.efficiency.rounds, config.efficiency.steps, config.efficiency.batches = 2, 1, 1
    trained = checkpoints.load_for_inference(workdir)
    trained.config.tasks = (str(NOISE),)
    found = efficiency.measure_all(config, {"cnn": trained}, {"cnn": 5.0})
    costs, parameters = found["cnn"], sum(leaf.size for leaf in jax.tree.leaves(trained.params))
    assert (costs.parameters, costs.published) == (parameters, 0)
    assert 2.5 < costs.train_flops / costs.restore_flops < 4  # forward and back
    assert costs.train_bytes > 4 * 4 * parameters  # weights, their average, two moments
    assert len(costs.train_seconds) == len(costs.restore_seconds) == 2
    assert min(*costs.train_seconds, *costs.restore_seconds) > 0 and costs.trained_seconds == 5.0
    assert efficiency.from_json(json.loads(json.dumps(efficiency.to_json(found)))).keys() == found.keys()
    (row,) = csv.DictReader(io.StringIO(efficiency.costs_csv(found)))
    assert float(row["train_seconds"]) == pytest.approx(np.median(costs.train_seconds), rel=1e-5)


@pytest.mark.slow
def test_the_prior_has_a_line_that_says_what_of_it_was_published(tmp_path, monkeypatch):
    """And how long a model of the package took to train, which its manifest knows."""
    random_networks.install(monkeypatch)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    folder = untrained.make_workdir(tmp_path / "prior", 64, network="face_prior")
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 1, "train/kept_seconds": 30.0}) + "\n")
    write_json(folder / "manifest.json", SHIPPED | {"dataset": {}})
    ship(folder, "own", "")
    config = settings.create({"prior": workdir.read_config(folder)})
    config.trained.prior, config.seeds, config.eval.batch_size = ("own",), (0,), 1
    config.efficiency.rounds = config.efficiency.steps = config.efficiency.batches = 1
    (run_,) = plan.runs(config, tmp_path)
    trained = load_restorer("own")
    trained.config.tasks = (str(NOISE),)
    found = runner._efficiency(config, [run_], {run_.name: trained}, tmp_path / "efficiency.json")
    costs = efficiency.from_json(found["costs"])["prior"]
    own, prior = (sum(leaf.size for leaf in jax.tree.leaves(trained.params[name])) for name in ("steering", "prior"))
    assert (costs.parameters, costs.published) == (own + prior, prior)
    header, (row,) = (getattr(efficiency.to_table({"prior": costs}), part) for part in ("header", "rows"))
    line = dict(zip(header, row, strict=True))
    assert line["of these published, M"] == f"{prior / 1e6:.2f}" and line["training took, s"] == "30"
    assert all(float(cell) > 0 for name, cell in line.items() if name != "arm")


def test_lazy_penalties_count_as_often_as_they_are_computed(monkeypatch):
    config, devices = config_lib.default(), parallel.one_device()
    config.arm, config.gan.r1, config.gan.penalty_every = "gan", 1.0, 4
    seen = []

    def compile_without(config, on):
        seen.append((config.gan.r1, config.gan.r2, on.num_devices))
        return None, parallel.Costs(8.0, 1.0)

    monkeypatch.setattr(efficiency, "training_program", compile_without)
    assert efficiency.mean_flops(config, parallel.Costs(12.0, 1.0), devices) == 9 and seen == [(0, 0, 1)]
    config.gan.r1 = 0.0
    assert efficiency.mean_flops(config, parallel.Costs(12.0, 1.0), devices) == 12 and len(seen) == 1


def test_a_training_took_what_its_metrics_say_last(tmp_path):
    lines = [{"step": 5, "train/kept_seconds": 2.0}, {"step": 9, "train/kept_seconds": 3.5}, {"step": 9, "psnr": 20.0}]
    assert math.isnan(efficiency.training_seconds(tmp_path))
    (tmp_path / "metrics.jsonl").write_text(json.dumps(lines[2]) + "\n")
    assert math.isnan(efficiency.training_seconds(tmp_path))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert efficiency.training_seconds(tmp_path) == 3.5


def test_the_classical_methods_are_known_by_their_source_and_opencv(monkeypatch, tmp_path):
    before = measuring.classical([NOISE]).made_from
    assert before == measuring.classical([HOLE]).made_from
    monkeypatch.setattr(measuring.cv2, "__version__", "0")
    assert measuring.classical([NOISE]).made_from != before
    monkeypatch.undo()
    (tmp_path / "baselines.py").write_text("other = 1")
    monkeypatch.setattr(measuring.baselines, "__file__", str(tmp_path / "baselines.py"))
    assert measuring.classical([NOISE]).made_from != before


def test_another_size_is_one_sentence(workdirs, tmp_path):
    config = make_settings(workdirs)
    config.data.image_size = 64
    with pytest.raises(UserError, match="trained at 32 pixels"):
        runner.measure(config, plan.runs(config, tmp_path), tmp_path)


def test_what_is_missing_stops_before_training(workdirs, tmp_path, monkeypatch):
    random_networks.install(monkeypatch)
    monkeypatch.setattr(aside, "call", lambda function, *arguments, platform: function(*arguments))
    config = make_settings(workdirs)
    config.trained.gan, config.fidelity.cnn, config.fidelity.gan = (), "", ""
    config.experiments.gan.loss.identity = 0.1
    runs = plan.runs(config, tmp_path)
    runner.check_at_hand(config, runs)

    def unreachable():
        raise UserError("cannot fetch it")

    monkeypatch.setattr("faceflax.models.mobilenet.load", unreachable)
    with pytest.raises(UserError, match=r"cannot fetch it, or .*--config.eval.judges='\(\)'"):
        runner.check_at_hand(config, runs)
    config.eval.judges = ()
    runner.check_at_hand(config, runs)
    monkeypatch.setattr("faceflax.models.face_encoder.faceres.load", unreachable)
    with pytest.raises(UserError, match=r"without this term: --config.experiments.gan.loss.identity=0$"):
        runner.check_at_hand(config, runs)
    for run in runs[1::2]:
        workdir.write_start(run.workdir, run.config, {"config": "0"}, active=True)
        run.mark_trained()
    runner.check_at_hand(config, runs)
    config.efficiency.rounds = 1
    with pytest.raises(UserError, match=r"do not time gan's training: --config.efficiency.rounds=0$"):
        runner.check_at_hand(config, runs)
    config.data.split = "fog"
    with pytest.raises(UserError, match="fog"):
        runner.check_at_hand(config, runs)
