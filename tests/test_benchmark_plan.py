"""Which runs a benchmark has, in which order they train, and that they stop and go on as they should."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import cells, plan, settings, training
from faceflax.training import processes, workdir
from faceflax.training.trained import load_restorer
from tests import untrained


def make_settings(**experiments):
    cnn, gan = config_lib.default(), config_lib.default()
    gan.init_from = "cnn"
    config = settings.create({"cnn": cnn, "gan": gan} | experiments)
    config.seeds = (3, 5)
    return config


def test_each_arm_starts_from_the_other_of_its_seed(tmp_path):
    runs = plan.runs(make_settings(), tmp_path)
    assert [(run.name, run.after) for run in runs] == [
        ("cnn-3", ""),
        ("gan-3", "cnn-3"),
        ("cnn-5", ""),
        ("gan-5", "cnn-5"),
    ]
    assert [run.config.seed for run in runs] == [3, 3, 5, 5]
    assert runs[3].config.init_from == str(tmp_path / "arms" / "cnn-5") == str(runs[2].workdir)


def test_given_workdirs_are_not_trained_and_known_by_their_checkpoint(tmp_path):
    config = make_settings()
    given = [untrained.make_workdir(tmp_path / name, 32) for name in ("one", "two")]
    config.trained.cnn = tuple(map(str, given))
    runs = plan.runs(config, tmp_path)
    assert [run.is_trained for run in runs] == [True, False, True, False]
    assert runs[3].config.init_from == str(given[1]) and runs[3].after == "cnn-5"
    trained = load_restorer(given[1])
    assert runs[3].upstream == {"step": 1, "params": cells.fingerprint(trained.params)} == runs[2].made_from
    shutil.copytree(given[1] / "checkpoints" / "1", given[1] / "checkpoints" / "2")  # it was trained on
    assert plan.runs(config, tmp_path)[3].upstream["step"] == 2
    shutil.rmtree(given[1] / "checkpoints")
    with pytest.raises(UserError, match="two holds no checkpoint yet"):
        plan.runs(config, tmp_path)


def test_models_of_the_package_are_arms_and_starts_by_their_names(tmp_path):
    config = make_settings(other=config_lib.default())
    config.trained.cnn, config.experiments.other.init_from = ("cnn", "cnn"), "gan"
    config.arms = ("cnn", "gan")
    runs = plan.runs(config, tmp_path)
    assert [run.is_shipped for run in runs] == [True, False, True, False] and runs[0].is_trained
    assert runs[1].config.init_from == "cnn" and runs[1].upstream == runs[0].made_from
    alone = settings.create({"other": config.experiments.other})
    (run, *_) = plan.runs(alone, tmp_path)
    assert run.config.init_from == "gan" and run.after == "" and run.upstream == plan.of_network("gan")
    config.arms, config.trained.cnn = ("cnn",), ("cnn", "./cnn")  # the second is a folder of that name
    assert [run.is_shipped for run in plan.runs(config, tmp_path)] == [True, False]


def test_complete_is_a_training_of_this_very_config(tmp_path):
    config = make_settings()
    (run, *_) = plan.runs(config, tmp_path)
    assert not run.is_trained
    run.mark_trained()
    assert plan.runs(config, tmp_path)[0].is_trained
    config.experiments.cnn.train.duration = "7steps"
    assert not plan.runs(config, tmp_path)[0].is_trained


@pytest.mark.parametrize(
    ("field", "value", "is_same"),
    [
        ("train.log_every", "25steps", True),
        ("eval.max_images", 9, True),
        ("wandb.mode", "disabled", True),
        ("train.duration", "7steps", False),
        ("eval.best_metric", "ssim", False),
        ("optim.lr", 0.5, False),
    ],
)
def test_what_decides_a_network_is_compared_and_nothing_else(tmp_path, field, value, is_same):
    config = make_settings()
    for run in plan.runs(config, tmp_path):
        run.claim_start()
        run.mark_trained()
    config.experiments.cnn.update_from_flattened_dict({field: value})
    cnn, gan, *_ = plan.runs(config, tmp_path)
    assert (cnn.is_trained, gan.is_trained) == (is_same, is_same)


def test_a_training_by_an_older_version_stands(tmp_path, monkeypatch):
    config = make_settings()
    runs = plan.runs(config, tmp_path)
    for run in runs:
        run.claim_start()
        run.mark_trained()
    old = json.loads((runs[1].workdir / "complete.json").read_text())
    del old["config"]["gan"]["eps"], old["upstream"]["config"]["loss"]["psnr"]  # it had no such fields
    (runs[1].workdir / "complete.json").write_text(json.dumps(old))
    assert plan.runs(config, tmp_path)[1].is_trained
    old["config"]["fog"] = 1  # which this one lacks
    (runs[1].workdir / "complete.json").write_text(json.dumps(old))
    assert not plan.runs(config, tmp_path)[1].is_trained


def test_what_descends_from_another_network_is_another_training(tmp_path):
    config = make_settings()
    runs = plan.runs(config, tmp_path)
    for run in runs:
        run.claim_start()
        run.mark_trained()
    config.experiments.cnn.train.duration = "7steps"
    _, changed, *_ = plan.runs(config, tmp_path)
    assert not changed.is_trained
    changed.claim_start()  # nothing was made of the former network
    runs[1].claim_start()
    (runs[1].workdir / "checkpoints" / "100").mkdir(parents=True)
    runs[1].claim_start()
    with pytest.raises(UserError, match=r"gan-3 starts from has changed: delete .*arms/gan-3"):
        training.train(plan.runs(config, tmp_path), command, workers=1)
    assert not (tmp_path / "arms" / "cnn-3" / "made").exists()


def test_arms_that_start_from_each_other_are_named(tmp_path):
    config = make_settings(twin=config_lib.default())
    config.experiments.cnn.init_from, config.experiments.twin.init_from = "twin", "gan"
    with pytest.raises(UserError, match="cnn from twin from gan from cnn"):
        plan.runs(config, tmp_path)
    config.experiments.cnn.init_from = "cnn"
    with pytest.raises(UserError, match="each other.*: cnn from cnn"):
        plan.runs(config, tmp_path)
    config.experiments.cnn.init_from, config.arms = "", ("twin", "gan", "cnn")
    assert [run.name for run in plan.runs(config, tmp_path)[:3]] == ["twin-3", "gan-3", "cnn-3"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seeds", (1, 1), "twice"),
        ("seeds", (), "at least one"),
        ("arms", ("cnn", "fog"), 'no "fog"'),
        ("trained.cnn", ("one",), "one workdir or model for each"),
        ("compare.cnn", "cnn", "both"),
        ("fidelity.gan", "fog", "not among"),
        ("fidelity.points", (0.0, 2.0), r"\(0.0, 2.0\) must lie between 0 and 1"),
        ("eval.tasks", ("fog",), "not a degradation"),
        ("eval.curve", (70.0,), "up to 60"),
        ("data.image_size", 64, "trained at 128"),
        ("eval.faces", 0, "at least 1"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(field, value, message):
    config = make_settings()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        settings.validate(config)


@pytest.mark.parametrize("section", ["compare", "fidelity"])
def test_what_is_compared_is_a_cnn_and_a_gan(section):
    config = make_settings()
    config.experiments.gan.arm, config.experiments.gan.eval.best_metric = "gan", "step"
    config[section].cnn, config[section].gan = "cnn", "gan"
    settings.validate(config)
    for cnn, gan in (("gan", "cnn"), ("cnn", "cnn"), ("gan", "gan")):
        config[section].cnn, config[section].gan = cnn, gan
        with pytest.raises(UserError, match=f"config.{section}.* an arm of the other kind"):
            settings.validate(config)


def test_the_fidelity_curve_is_between_a_gan_and_its_start():
    config = make_settings(longer=config_lib.default())
    config.experiments.gan.arm, config.experiments.gan.eval.best_metric = "gan", "step"
    config.fidelity.cnn, config.fidelity.gan = "longer", "gan"
    with pytest.raises(UserError, match='gan, which starts from "cnn" and not from longer'):
        settings.validate(config)
    config.trained.gan = ("one", "two")  # what these started from is in their workdirs
    settings.validate(config)


def test_an_arm_that_is_left_out_is_no_model_of_the_package(tmp_path):
    config = make_settings()
    config.arms = ("gan",)
    with pytest.raises(UserError, match='gan starts from the arm "cnn", which config.arms leaves out'):
        plan.runs(config, tmp_path)


def test_a_training_by_another_config_is_named_before_any_starts(tmp_path):
    config = make_settings()
    gan = plan.runs(config, tmp_path)[1]
    workdir.write_start(gan.workdir, gan.config, {"config": "0"}, active=True)
    (gan.workdir / "checkpoints" / "100").mkdir(parents=True)
    config.experiments.gan.gan.weight = 0.5
    with pytest.raises(UserError, match=r"gan.weight was 0.1, now 0.5\): delete .*arms/gan-3, or run with the same"):
        training.train(plan.runs(config, tmp_path), command, workers=1)
    assert not (tmp_path / "arms" / "cnn-3" / "made").exists()
    config.experiments.gan.gan.weight, config.experiments.gan.train.duration = 0.1, "7steps"
    plan.runs(config, tmp_path)[1].claim_start()


def test_a_start_that_does_not_exist_is_named(tmp_path):
    config = make_settings()
    config.experiments.gan.init_from = "fog"
    with pytest.raises(UserError, match='"fog"'):
        plan.runs(config, tmp_path)


TRAINER = """
import json, os, signal, sys, time
from pathlib import Path
config, workdir = Path(sys.argv[1]), Path(sys.argv[2])
fields = json.loads(config.read_text())
workdir.mkdir(parents=True, exist_ok=True)
if fields["init_from"] and not (Path(fields["init_from"]) / "made").exists():
    sys.exit("nothing to start from")
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
signal.signal(signal.SIGTERM, lambda *_: ((workdir / "saved").touch(), sys.exit(143)))
waits = [workdir.parent / name for name in ("wait", f"wait-{workdir.name}")]
if any(file.exists() for file in waits) and not (workdir / "saved").exists():
    (workdir / "started").touch()
    time.sleep(60)
(workdir / "device").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
if (workdir.parent / f"fail-{workdir.name}").exists():
    for file in workdir.parent.glob("wait-*"):
        while not (workdir.parent / file.name.removeprefix("wait-") / "started").exists():
            time.sleep(0.02)
    sys.exit(3)
(workdir / "made").touch()
"""


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch):
    monkeypatch.setattr(processes, "gpus", list)


def command(config, workdir):
    return [sys.executable, "-c", TRAINER, str(config), str(workdir)]


def test_trains_in_order_and_once(tmp_path, capfd):
    runs = plan.runs(make_settings(), tmp_path)
    assert training.train(runs, command, workers=1) == 0
    assert all((run.workdir / "made").exists() and run.is_trained for run in runs)
    assert "gan-5  device" in capfd.readouterr().out
    times = {run.name: (run.workdir / "made").stat().st_mtime_ns for run in runs}
    assert times["cnn-3"] < times["gan-3"] and times["cnn-5"] < times["gan-5"]
    assert training.train(runs, command, workers=1) == 0
    assert times == {run.name: (run.workdir / "made").stat().st_mtime_ns for run in runs}


def test_each_of_several_gpus_has_its_own_training(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "gpus", lambda: ["4", "7"])
    runs = plan.runs(make_settings(), tmp_path)
    assert training.train(runs, command, workers=0) == 0
    assert {(run.workdir / "device").read_text() for run in runs} == {"4", "7"}


def test_a_failure_stops_the_others_and_is_named(tmp_path):
    runs = plan.runs(make_settings(), tmp_path)
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms" / "fail-cnn-3").touch()
    (tmp_path / "arms" / "wait-cnn-5").touch()
    with pytest.raises(UserError, match="cnn-3 ended with status 3"):
        training.train(runs, command, workers=2)
    assert not runs[0].is_trained and not (runs[1].workdir / "made").exists()
    assert (tmp_path / "arms" / "cnn-5" / "saved").exists() and not runs[2].is_trained


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_every_training_and_the_same_call_goes_on(tmp_path, number):
    outside = signal.signal(number, signal.SIG_DFL)  # the suite itself may run under nohup
    runs = plan.runs(make_settings(), tmp_path)
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms" / "wait").touch()
    under_way = [tmp_path / "arms" / name for name in ("cnn-3", "cnn-5")]

    def stop():
        while not all((workdir / "started").exists() for workdir in under_way):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    former = signal.getsignal(number)
    assert training.train(runs, command, workers=2) == number
    assert signal.getsignal(number) == former
    signal.signal(number, outside)
    assert all((workdir / "saved").exists() and not (workdir / "made").exists() for workdir in under_way)
    (tmp_path / "arms" / "wait").unlink()
    assert training.train(runs, command, workers=2) == 0
    assert all(run.is_trained for run in runs)


def test_what_the_shell_told_it_to_ignore_stops_nothing(tmp_path):
    (run, *_) = plan.runs(make_settings(), tmp_path)

    def hang_up():
        while not (tmp_path / "arms" / "cnn-3.json").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGHUP)

    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        threading.Thread(target=hang_up, daemon=True).start()
        assert training.train([run], command, workers=1) == 0
    finally:
        signal.signal(signal.SIGHUP, former)
    assert run.is_trained


def test_a_saved_config_is_read_back(tmp_path):
    from configs import saved

    config = config_lib.default()
    config.optim.lr = 0.125
    (tmp_path / "config.json").write_text(config_lib.to_json(config))
    assert saved.get_config(str(tmp_path / "config.json")).optim.lr == 0.125
    with pytest.raises(UserError, match="cannot read"):
        saved.get_config(str(tmp_path / "none.json"))


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "configs" / "benchmark").glob("*.py")))
def test_every_benchmark_of_ours_can_be_run(path, tmp_path):
    import importlib

    module = importlib.import_module(f"configs.benchmark.{path.stem}")
    if path.stem == "twins":
        return
    config = module.get_config()
    settings.validate(config)
    assert f"configs/benchmark/{path.name}" in module.__doc__
    if path.stem in ("pretrained", "prior"):  # trains nothing
        assert all(settings.trained(config, name) for name in config.arms)
        return
    runs = plan.runs(config, tmp_path)
    durations = {run.arm: run.config.train.duration for run in runs}
    assert durations.get("cnn_continued", durations["gan"]) == durations["gan"]
    start = "inversion" if runs[-1].arm == "prior" else "cnn"
    assert json.loads(config_lib.to_json(runs[-1].config))["init_from"].endswith(f"{start}-{runs[-1].seed}")


def test_the_perceptual_twin_is_the_gan_without_a_discriminator():
    from configs.benchmark import quick

    twin, gan = (quick.get_config().experiments[name].to_dict() for name in ("cnn_perceptual", "gan"))
    assert twin["loss"]["perceptual"] > 0
    assert {name for name in gan if twin[name] != gan[name]} == {"arm"}
