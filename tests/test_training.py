"""The step, the loop and what they leave in a workdir, on a model and images that are tiny."""

import contextlib
import datetime
import json
import shutil
import subprocess
import sys
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.files import write_json
from faceflax.training import arms, checkpoints, cluster, cnn, loop, meter, optimizer, parallel
from faceflax.training.state import Collectives
from tests import random_networks, tiny


class Source(list):
    """Training examples in memory."""

    fingerprint = "0" * 12


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 4, 4, 3), np.uint8)
    faces = [np.kron(image, np.ones((8, 8, 1), np.uint8)) for image in coarse]
    return Source({"image": cv2.imencode(".png", face)[1].tobytes()} for face in faces)


@pytest.fixture(scope="module")
def batch(source):
    images = np.stack([cv2.imdecode(np.frombuffer(example["image"], np.uint8), 1) for example in source[:16]])
    return {"image": images, "index": np.arange(16, dtype=np.int32)}


def _train(config, workdir, source, psnr=lambda step: 0.0):
    """Runs the loop with an evaluation that gives `psnr` of the number of evaluations so far."""
    count = iter(range(1, 1000))
    picture = np.zeros((4, 4, 3), np.uint8)
    config_lib.validate(config)
    (workdir / "config.json").write_text(config_lib.to_json(config))
    return loop.train(config, workdir, source, lambda arm: lambda params: ({"psnr": psnr(next(count))}, picture))


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _last_values(workdir, name):
    """The metric's last value at each step that has one."""
    return {line["step"]: line[name] for line in _lines(workdir) if name in line}


def _steps(config, batch, num_steps):
    devices = parallel.create(config.parallel.mesh)
    arm = arms.create(config, lambda step: 3e-3, devices.collectives)
    step = devices.compile_step(arm.step, devices.abstract_state(arm.init), arm.load_networks())
    state, losses = devices.create_state(arm.init), []
    for _ in range(num_steps):
        state, sums = step(state, devices.shard_batch(batch))
        losses.append(float(sums["loss"][0] / sums["loss"][1]))
    return state, losses


def test_training_lowers_the_loss_and_repeats_itself(batch):
    first, losses = _steps(tiny.config(), batch, 25)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    again, losses_again = _steps(tiny.config(), batch, 25)
    assert losses == losses_again
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)


def test_accumulated_gradients_are_those_of_the_whole_batch(batch):
    weights = {"w": jnp.arange(3.0)}

    def gradients(micro):
        images = micro["image"] / 255
        value = lambda w: jnp.mean(jnp.tanh(images @ w["w"]) * micro["index"][:, None, None])  # noqa: E731
        return jax.grad(value)(weights), {"psnr": (images.sum(), jnp.float32(len(images)))}

    whole, parts = (
        cnn.accumulate(gradients, jax.tree.map(jnp.asarray, batch), count, Collectives().average) for count in (1, 4)
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4)  # noqa: E731
    jax.tree.map(close, whole, parts)


@pytest.mark.slow
def test_bfloat16_computes_on_float32_parameters(batch):
    state, losses = _steps(tiny.config(model__dtype="bfloat16"), batch, 25)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.slow
def test_networks_of_the_loss_are_arguments_and_not_constants(batch, monkeypatch):
    random_networks.install(monkeypatch)
    config = tiny.config(loss__perceptual=0.1, loss__identity=0.1)
    devices = parallel.create(config.parallel.mesh)
    arm = arms.create(config, lambda step: 3e-3, devices.collectives)
    networks = arm.load_networks()
    program = jax.make_jaxpr(arm.step)(jax.eval_shape(arm.init), batch, networks)
    size = lambda arrays: sum(array.nbytes for array in arrays)  # noqa: E731
    assert size(program.consts) < 2**20 < size(jax.tree.leaves(networks))
    _, losses = _steps(tiny.config(loss__perceptual=0.1), batch, 3)
    assert np.isfinite(losses).all()


def test_a_network_that_cannot_be_fetched_stops_the_run_before_training(source, tmp_path, monkeypatch):
    for name, value in {"FACEFLAX_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"--config.loss.perceptual=0$"):
        _train(tiny.config(loss__perceptual=0.1), tmp_path, source)
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_schedule_warms_up_and_decays_as_a_cosine():
    config = tiny.config(optim__warmup="10steps", optim__lr=1e-3, optim__final_lr=1e-5)
    rate = optimizer.schedule(config.optim, 110, 10)
    np.testing.assert_allclose(rate(0), 0.0)
    np.testing.assert_allclose(rate(5), 0.5e-3, rtol=1e-6)
    np.testing.assert_allclose(rate(10), 1e-3, rtol=1e-6)
    np.testing.assert_allclose(rate(60), 1e-5 + (1e-3 - 1e-5) / 2, rtol=1e-5)
    np.testing.assert_allclose(rate(110), 1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="make it shorter"):
        optimizer.schedule(config.optim, 10, 10)


def test_weight_decay_leaves_biases_alone():
    config = tiny.config(optim__weight_decay=0.5, optim__clip_norm=0.0)
    transform = optimizer.create(config.optim, lambda step: 0.1)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], 0.0)


def test_modules_that_are_left_out_stay_as_they_are():
    config = tiny.config(optim__modules=("encoder0",), optim__weight_decay=0.5)
    arm = cnn.create(config, lambda step: 1e-2, Collectives())
    first = arm.init()
    batch = {"image": np.full((2, 32, 32, 3), 99, np.uint8), "index": np.arange(2)}
    last = jax.jit(arm.step)(first, batch, None)[0]
    moved = {name for name in first.params if _differ(first.params[name], last.params[name])}
    assert moved == {"encoder0_0"}
    with pytest.raises(UserError, match=r'no "coder"; it has .*decoder0_0, .*stem'):
        optimizer.hold(first.params, ("coder",))


def _differ(trees, others):
    return any(jax.tree.leaves(jax.tree.map(lambda one, other: bool((one != other).any()), trees, others)))


def test_ema_follows_quickly_at_first_and_slowly_later():
    ema = optimizer.ema_update({"w": jnp.float32(0)}, {"w": jnp.float32(1)}, jnp.int32(1), 0.99)
    np.testing.assert_allclose(ema["w"], 10 / 11, rtol=1e-6)
    ema = optimizer.ema_update({"w": jnp.float32(0)}, {"w": jnp.float32(1)}, jnp.int32(10**6), 0.99)
    np.testing.assert_allclose(ema["w"], 0.01, rtol=1e-4)


def test_loop_keeps_the_newest_and_the_best(source, tmp_path):
    config = tiny.config(train__duration="6steps", train__eval_every="1steps", train__keep=2)
    assert not _train(config, tmp_path, source, psnr=lambda count: {2: 30.0}.get(count, 20.0))
    assert sorted(int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()) == [2, 5, 6]
    trained = checkpoints.load_for_inference(tmp_path)
    assert trained.info == {"step": 2, "metrics": {"psnr": 30.0}}
    lines = _lines(tmp_path)
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["eval/psnr"] for line in lines if "eval/psnr" in line] == [20.0, 30.0, 20.0, 20.0, 20.0, 20.0]
    timed = [line for line in lines if line["step"] > 1 and "train/loss" in line]
    parts = [f"train/{part}" for part in meter.TRAINING + meter.PAUSES]
    assert all(line[part] >= 0 for line in timed for part in parts)
    assert all(0 < sum(line[part] for part in parts) <= 1 for line in timed)
    assert all(line["train/evaluation"] > 0 and line["train/checkpoint"] > 0 for line in timed)


def test_goodput_counts_kept_steps_over_the_life_of_the_workdir_and_chosen_steps_are_traced(
    source, tmp_path, monkeypatch
):
    config = tiny.config(
        train__duration="6steps", train__checkpoint_every="4steps", train__log_every="3steps", profile="1:3"
    )
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "preemption", lambda: contextlib.nullcontext(lambda step: 15 * (step == 5)))
        assert _train(config, tmp_path, source) == 15
    kept = _last_values(tmp_path, "train/kept_seconds")
    assert list(kept) == [3, 4, 5]  # a checkpoint ends a line, so that a restart knows what it goes on from
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert b"step_num" in trace.read_bytes()
    shutil.rmtree(tmp_path / "profile")

    shutil.rmtree(tmp_path / "checkpoints" / "5")  # as if the run had been killed before it
    write_json(tmp_path / "manifest.json", {"started": "2020-01-01T00:00:00+00:00"})
    _train(config, tmp_path, source)
    again = _last_values(tmp_path, "train/kept_seconds")
    assert again[4] == kept[4] < again[6]
    life = time.time() - datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert _last_values(tmp_path, "train/goodput")[6] == pytest.approx(again[6] / life, rel=1e-4)
    assert not (tmp_path / "profile").exists()  # its range was over


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(source, tmp_path):
    fields = {"train__checkpoint_every": "1steps", "train__keep": 5, "optim__clip_norm": 0.0}
    _train(tiny.config(**fields, train__duration="4steps"), tmp_path, source)
    with pytest.raises(UserError, match=r"not finite at step (6|7); the last good checkpoint is step 4; .* lower"):
        _train(tiny.config(**fields, optim__lr=1e30, optim__warmup="1steps"), tmp_path, source)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(source, tmp_path):
    _train(tiny.config(train__duration="3steps"), tmp_path, source)
    for file in (tmp_path / "checkpoints" / "3" / "default").glob("ocdbt.process_0/d/*"):
        file.write_bytes(file.read_bytes()[:100])
    for use in (lambda: _train(tiny.config(), tmp_path, source), lambda: checkpoints.load_for_inference(tmp_path)):
        with pytest.raises(UserError, match="checkpoints/3 is damaged; delete it"):
            use()


def test_warm_start_takes_the_averaged_parameters(source, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    _train(tiny.config(train__duration="3steps"), first, source)
    _train(tiny.config(train__duration="3steps", init_from=str(first), optim__lr=0.0), second, source)
    before, after = (checkpoints.load_for_inference(folder).params for folder in (first, second))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)  # noqa: E731
    jax.tree.map(close, before, after)
    with pytest.raises(UserError, match=r"another model \(config.model.width was 16, now 24\); .* same config.model$"):
        wider = tiny.config(init_from=str(first), model__width=24)
        third = tmp_path / "third"
        third.mkdir()
        _train(wider, third, source)


# orbax leaves the reads of the other arrays unawaited
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_checkpoint_of_another_model_is_refused(source, tmp_path):
    _train(tiny.config(train__duration="3steps"), tmp_path, source)
    with pytest.raises(UserError, match="another model"):
        _train(tiny.config(train__duration="6steps", model__width=24), tmp_path, source)
    with pytest.raises(UserError, match="another model"):  # its config.json now says 24
        checkpoints.load_for_inference(tmp_path)


def test_folders_without_a_model_are_refused(tmp_path):
    with pytest.raises(UserError, match="not a workdir"):
        checkpoints.load_for_inference(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eval__best_metric": "pnsr"}, "choose one of psnr, ssim"),
        ({"data__batch_size": 0}, "config.data.batch_size is 0; it must be at least 1"),
        ({"optim__accumulate": 0}, "at least 1"),
        ({"data__crop": 1.5}, "between 0 and 1"),
        ({"arm": "cmm"}, "choose one of cnn"),
        ({"train__duration": "0steps"}, "less than one step"),
        ({"data__batch_size": 9, "optim__accumulate": 2}, "multiple of 2"),
        ({"parallel__mesh__data": 3}, "does not cover the 1 device"),
        ({"parallel__strategy": "xmap"}, "choose one of jit, pmap"),
        ({"parallel__strategy": "pmap", "arm": "encoder", "eval__best_metric": "rank1"}, "faces of a whole batch"),
        ({"tasks": ("rain",)}, "not a degradation task"),
        ({"profile": "10"}, 'config.profile is "10"; write the first step'),
    ],
)
def test_what_cannot_be_trained_is_refused(source, tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        _train(tiny.config(**fields), tmp_path, source)


def test_a_disk_without_room_is_named(source, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    with pytest.raises(UserError, match="no checkpoint was saved before; free space"):
        _train(tiny.config(train__duration="3steps"), tmp_path, source)


def test_full_batch_share_for_every_device():
    with pytest.raises(UserError, match="multiple of 2"):
        parallel.create({"data": -1, "fsdp": 1}).check_batch(3, 2, 32)


def test_a_lone_process_does_not_need_the_others(monkeypatch):
    cluster.initialize_distributed()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(UserError, match="JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID"):
        cluster.initialize_distributed()


def test_a_job_of_slurm_that_srun_did_not_start_is_one_sentence():
    """In a process of its own: JAX joins no others once a device was used."""
    program = "from faceflax.training import cluster; cluster.initialize_distributed()"
    command = [sys.executable, "-c", program]
    variables = {"SLURM_JOB_ID": 77, "SLURM_NTASKS": 2}
    finished = subprocess.run(
        command, cwd=tiny.ROOT, env=tiny.environment(**variables), capture_output=True, text=True, check=False
    )
    assert "UserError: SLURM_NTASKS=2 tells of other processes" in finished.stderr
    assert "start it with srun, or unset SLURM_NTASKS" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--config.model.widht=3", 'the config has no field "widht"; did you mean "width"?'),
        ("--config.eval.tasks='rain',", '"rain" is not a degradation task'),
        ("--wordkir=x", "Unknown command line flag 'wordkir'. Did you mean: workdir ?"),
        ("widht", '"widht" is not a flag'),
    ],
)
def test_what_no_machine_could_train_is_one_sentence_and_refused(flag, sentence, tmp_path):
    command = [*tiny.command(tmp_path / "unused"), flag]
    finished = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {sentence}") and finished.stderr.count("\n") == 1
    assert not (tmp_path / "unused").exists()


@pytest.mark.slow
def test_a_config_file_that_is_not_here_may_be_elsewhere():
    missing = subprocess.run(
        [sys.executable, "-m", "experiments.train", "--config=configs/none.py", "--workdir=unused"],
        cwd=tiny.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: no such config file: configs/none.py")
