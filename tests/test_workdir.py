import json
import multiprocessing
import time
from unittest import mock

import cv2
import numpy as np
import pytest
import wandb

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.training import loop, tracking, workdir
from tests import tiny


def _lock_in_vain(folder, result):
    try:
        with workdir.locked(folder):
            result.put("held")
    except UserError as error:
        result.put(str(error))


def test_a_workdir_has_one_user(tmp_path):
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    with workdir.locked(tmp_path / "run"):
        other = context.Process(target=_lock_in_vain, args=(tmp_path / "run", result))
        other.start()
        assert "in use by another process" in result.get(timeout=60)
        other.join()
    with workdir.locked(tmp_path / "run"):
        pass


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --workdir"), workdir.locked(tmp_path / "file"):
        pass


def _start(folder, config, fingerprint="abc", **values):
    workdir.write_start(folder, config, workdir.manifest(config, fingerprint) | values, active=True)
    return json.loads((folder / "manifest.json").read_text())


def test_config_may_change_in_length_but_not_in_kind(tmp_path):
    config = config_lib.default()
    config.model.width = 24
    _start(tmp_path, config)
    config = config_lib.default()  # nothing is trained yet: any change is welcome
    _start(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    config.train.duration = "7epochs"
    config.data.workers = 1
    config.model.remat = True  # the same gradients: see the blocks' own test
    _start(tmp_path, config)
    assert workdir.read_config(tmp_path).train.duration == "7epochs"
    config.optim.accumulate = 2
    with pytest.raises(UserError, match="config.optim.accumulate was 1, now 2"):
        _start(tmp_path, config)
    config.optim.accumulate = 1
    config.seed, config.model.width = 1, 48
    with pytest.raises(UserError, match="config.model.width was 32, now 48; config.seed was 0, now 1"):
        _start(tmp_path, config)
    assert workdir.read_config(tmp_path).seed == 0


@pytest.mark.parametrize("content", [b'{"model": ', b'{"fog": 1}', b"\xff\xfe\xfd", b"[1]"])
def test_a_damaged_config_is_named_with_its_folder(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=f"^{tmp_path}: .*(not readable|config.fog)"):
        workdir.read_config(tmp_path)


def test_manifest_tells_of_what_was_trained_and_lists_later_starts(tmp_path):
    config = config_lib.default()
    _start(tmp_path, config, commit="never trained")
    first = _start(tmp_path, config)
    assert first["dataset"] == {"name": "mini_faces", "fingerprint": "abc"}
    assert first["commit"] != "never trained"
    assert first["versions"]["jax"]
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    assert _start(tmp_path, config) == first
    later = _start(tmp_path, config, commit="another")
    again = {name: value for name, value in first.items() if name != "started"} | {"commit": "another"}
    assert later == first | {"resumed": [again]}


def test_the_first_start_is_remembered_of_the_same_config_and_before_any_checkpoint(tmp_path):
    config = config_lib.default()
    assert workdir.read_start_time(tmp_path) is None
    before = time.time()
    _start(tmp_path, config)
    first = workdir.read_start_time(tmp_path)
    assert before - 1e-3 <= first <= time.time()
    _start(tmp_path, config)
    assert workdir.read_start_time(tmp_path) == first
    config.train.duration = "7epochs"  # another training: nothing of the first is kept
    _start(tmp_path, config)
    second = workdir.read_start_time(tmp_path)
    assert second > first
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    config.train.duration = "8epochs"  # the same training, longer
    _start(tmp_path, config)
    assert workdir.read_start_time(tmp_path) == second


def test_other_data_are_refused(tmp_path):
    config = config_lib.default()
    _start(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    with pytest.raises(UserError, match="trained on mini_faces abc, which is now def"):
        _start(tmp_path, config, fingerprint="def")


def test_metrics_of_steps_that_are_done_again_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "loss": 1}\n{"step": 4, "lo')
    file = tracking.MetricsFile(path, resume_step=2)
    assert file.last("loss") == 2 and file.last("psnr") is None
    file.write(3, {"loss": 1.5})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 3},
        {"step": 2, "loss": 2},
        {"step": 3, "loss": 1.5},
    ]


def test_lines_with_a_metric_are_read_and_one_cut_short_is_not(tmp_path):
    assert tracking.read_metrics(tmp_path, "loss") == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3}\n{"step": 1, "psnr": 9}\n{"step": 2, "loss')
    assert tracking.read_metrics(tmp_path, "loss") == [{"step": 1, "loss": 3}]


def test_pictures_to_keep_stay_beside_the_newest(tmp_path):
    tracker = tracking.Tracker(tiny.config(), tmp_path, 0, active=True)
    for step in (1, 2, 3):
        tracker.write_image(step, "validation", np.full((8, 8, 3), step, np.uint8), keep=step != 2)
    found = {path.name: cv2.imread(str(path))[0, 0, 0] for path in (tmp_path / "report").iterdir()}
    assert found == {"validation.png": 3, "validation_1.png": 1, "validation_3.png": 3}


@pytest.mark.parametrize(
    ("total", "every", "kept"),
    [
        (7000, 1000, [1000, 2000, 4000, 6000, 7000]),
        (8, 1, [1, 2, 4, 6, 8]),
        (1000, 10, [10, 250, 500, 750, 1000]),
        (100, 70, [70, 100]),
        (50, 1000, [50]),
    ],
)
def test_the_pictures_of_a_training_that_are_kept(total, every, kept):
    plan = loop.Plan(total, None, log_every=1, eval_every=every, checkpoint_every=1)
    assert [step for step in range(1, total + 1) if plan.evaluates(step) and plan.keeps(step)] == kept


def test_metrics_that_do_not_fit_the_disk(tmp_path):
    file = tracking.MetricsFile(tmp_path / "metrics.jsonl", 0)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="free space"):
        file.write(1, {"loss": 0.0})


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


@pytest.mark.slow
def test_wandb_without_a_key_is_offline_and_the_same_run_again(tmp_path, no_key):
    tracker = None
    for step in (1, 2):
        tracker = tracking.Tracker(config_lib.default(), tmp_path, step - 1, active=True)
        tracker.write(step, {"train/loss": 1.0})
        tracker.write_image(step, "validation", np.full((8, 8, 3), (255, 0, 0), np.uint8))
        tracker.close(failed=False)
    names = {path.name.rpartition("-")[2] for path in (tmp_path / "wandb").glob("offline-run-*")}
    assert names == {(tmp_path / "wandb_id.txt").read_text()}
    assert cv2.imread(str(tmp_path / "report" / "validation.png"))[0, 0].tolist() == [0, 0, 255]


def test_wandb_draws_over_steps_and_shows_the_best(tmp_path, no_key, monkeypatch):
    run = mock.Mock()
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    mirror = tracking.Wandb(config_lib.default(), tmp_path)
    mirror.write(1, {"train/loss": 1.0, "eval/psnr": 20.0})
    mirror.write(2, {"train/loss": 0.5, "train/goodput": 0.9})
    defined = {call.args[0]: call.kwargs for call in run.define_metric.call_args_list}
    assert len(run.define_metric.call_args_list) == len(defined) == 4
    assert defined.pop("step") == {"hidden": True}
    assert {values["step_metric"] for values in defined.values()} == {"step"}
    best = {"train/loss": "min", "eval/psnr": "max", "train/goodput": None}
    assert {name: values["summary"] for name, values in defined.items()} == best
    assert run.log.call_args == mock.call({"step": 2, "train/loss": 0.5, "train/goodput": 0.9}, step=2)


def test_wandb_that_does_not_answer_is_one_sentence(tmp_path, no_key, monkeypatch):
    def init(**options):
        raise wandb.errors.CommError("no answer\nand much more")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(UserError, match=r"does not take the run \(no answer\); .*wandb.mode=offline"):
        tracking.Wandb(config_lib.default(), tmp_path)
