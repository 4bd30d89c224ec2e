import json
import multiprocessing

import pytest

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.training import tracking, workdir


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


def test_config_may_change_in_length_but_not_in_kind(tmp_path):
    config = config_lib.default()
    config.model.width = 24
    workdir.write_config(tmp_path, config)
    config = config_lib.default()  # nothing is trained yet: any change is welcome
    workdir.write_config(tmp_path, config)
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    config.train.duration = "7epochs"
    workdir.write_config(tmp_path, config)
    assert workdir.read_config(tmp_path).train.duration == "7epochs"
    config.seed, config.model.width = 1, 48
    with pytest.raises(UserError, match="config.model.width was 32, now 48; config.seed was 0, now 1"):
        workdir.write_config(tmp_path, config)
    assert workdir.read_config(tmp_path).seed == 0


def test_manifest_lists_later_starts(tmp_path):
    values = workdir.manifest(config_lib.default(), "abc")
    assert values["dataset"] == {"name": "mini_faces", "fingerprint": "abc"}
    assert values["versions"]["jax"]
    workdir.write_manifest(tmp_path, values)
    workdir.write_manifest(tmp_path, values)
    assert json.loads((tmp_path / "manifest.json").read_text()) == values
    later = values | {"commit": "another"}
    workdir.write_manifest(tmp_path, later)
    assert json.loads((tmp_path / "manifest.json").read_text()) == values | {"resumed": [later]}


def test_metrics_of_steps_that_are_done_again_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "loss": 1}\n{"step": 4, "lo')
    file = tracking.MetricsFile(path, resume_step=2)
    file.write(3, {"loss": 1.5})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 3},
        {"step": 2, "loss": 2},
        {"step": 3, "loss": 1.5},
    ]


def test_metrics_that_do_not_fit_the_disk(tmp_path):
    file = tracking.MetricsFile(tmp_path / "metrics.jsonl", 0)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="free space"):
        file.write(1, {"loss": 0.0})


@pytest.mark.slow
def test_wandb_without_a_key_is_offline_and_the_same_run_again(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    config = config_lib.default()
    for step in (1, 2):
        run = tracking.Wandb(config, tmp_path)
        run.write(step, {"train/loss": 1.0})
        run.close()
    names = {path.name.rpartition("-")[2] for path in (tmp_path / "wandb").glob("offline-run-*")}
    assert names == {(tmp_path / "wandb_id.txt").read_text()}
