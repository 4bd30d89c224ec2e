"""A run that is killed and started again ends as if nothing had happened."""

import json
import random
import signal
import subprocess
import time

import numpy as np
import pytest

from tests import tiny

STEPS = 40  # of tiny.FIELDS; a checkpoint every 10


def _steps_done(workdir):
    try:
        return len(_train_lines(workdir))
    except FileNotFoundError:
        return 0


def _start_until(workdir, step, **fields):
    """Starts the training, and returns the process once it has logged `step`."""
    process = subprocess.Popen(
        tiny.command(workdir, **fields), cwd=tiny.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not process.stdout.readline().startswith(b"training"):  # what an earlier life logged is cut off by then
        assert process.poll() is None
    deadline = time.monotonic() + 120
    while _steps_done(workdir) < step:
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    finished = tiny.run(workdir)
    assert finished.returncode == 0, finished.stderr
    return workdir


@pytest.mark.slow
def test_sigkill_at_random_steps_changes_nothing(undisturbed, tmp_path):
    steps = [random.SystemRandom().randrange(start, start + 12) for start in (1, 13, 25)]
    print("killed at", steps)
    for step in steps:
        process = _start_until(tmp_path, step)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = tiny.run(tmp_path)
    assert finished.returncode == 0, finished.stderr
    for resumed, reference in zip(tiny.state(tmp_path, STEPS), tiny.state(undisturbed, STEPS), strict=True):
        np.testing.assert_array_equal(resumed, reference)
    losses = [[json.loads(line)["train/loss"] for line in _train_lines(folder)] for folder in (tmp_path, undisturbed)]
    assert losses[0] == losses[1]


def _train_lines(workdir):
    return [line for line in (workdir / "metrics.jsonl").read_text().splitlines() if "train/loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_once_and_says_so(tmp_path, number):
    process = _start_until(tmp_path, 3, train__duration="5000steps", train__checkpoint_every="5000steps")
    process.send_signal(number)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 128 + number
    assert f"stopped by {number.name} at step" in output
    steps = [int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()]
    assert steps == [_steps_done(tmp_path)]


def _start(count, workdir, **fields):
    """Starts the training in `count` processes that find each other on the loopback address."""
    names = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{tiny.free_port()}", "JAX_NUM_PROCESSES": count}
    return [
        subprocess.Popen(
            tiny.command(workdir, **fields),
            cwd=tiny.ROOT,
            env=tiny.environment(**(names | {"JAX_PROCESS_ID": index} if count > 1 else {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for index in range(count)
    ]


def _wait_for_step(workdir, step):
    deadline = time.monotonic() + 120
    while _steps_done(workdir) < step:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_that_goes_from_two_processes_to_one_and_back_sees_the_same_batches(tmp_path):
    # A learning rate that does not depend on the duration; eps, as Adam would make much of rounding without.
    fields = {"optim__final_lr": 1e-3, "optim__eps": 0.01, "train__eval_every": "24steps", "tasks": ("noise 50",)}
    alone, moved = tmp_path / "alone", tmp_path / "moved"
    assert tiny.run(alone, **fields, train__duration="24steps").returncode == 0
    for steps, count in ((8, 2), (16, 1), (24, 2)):
        processes = _start(count, moved, **fields, train__duration=f"{steps}steps")
        outputs = [process.communicate(timeout=1800)[0].decode() for process in processes]
        assert [process.returncode for process in processes] == [0] * count, outputs
        assert f"on {count} cpu device(s), step {steps - 8} to {steps}" in outputs[0]
    losses = [[json.loads(line)["train/loss"] for line in _train_lines(folder)] for folder in (moved, alone)]
    assert len(losses[0]) == len(losses[1]) == 24
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert np.median(np.abs(np.diff(losses[1])) / losses[1][1:]) > 1e-3  # other images have other losses
    for array, reference in zip(tiny.state(moved, 24), tiny.state(alone, 24), strict=True):
        np.testing.assert_allclose(array, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_sigterm_to_one_of_two_processes_saves_for_both_and_one_goes_on(tmp_path):
    long = {"train__duration": "5000steps", "train__checkpoint_every": "5000steps", "train__eval_every": "5000steps"}
    processes = _start(2, tmp_path, **long)
    _wait_for_step(tmp_path, 3)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode == 128 + signal.SIGTERM, output
    (step,) = (int(folder.name) for folder in (tmp_path / "checkpoints").iterdir())
    assert step == _steps_done(tmp_path)
    finished = tiny.run(tmp_path, train__duration=f"{step + 2}steps")
    assert finished.returncode == 0, finished.stderr
    assert f"step {step} to {step + 2}" in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_sigkill_of_one_of_two_processes_ends_both_and_changes_nothing(victim, tmp_path):
    disturbed, reference = tmp_path / "disturbed", tmp_path / "reference"
    processes = _start(2, disturbed)
    _wait_for_step(disturbed, 13)
    processes[victim].send_signal(signal.SIGKILL)
    output = processes[1 - victim].communicate(timeout=300)[0].decode()
    assert processes[1 - victim].returncode not in (0, None), output
    assert _steps_done(disturbed) < STEPS
    for workdir in (disturbed, reference):
        again = _start(2, workdir)
        outputs = [process.communicate(timeout=600)[0].decode() for process in again]
        assert [process.returncode for process in again] == [0, 0], outputs
    for resumed, expected in zip(tiny.state(disturbed, STEPS), tiny.state(reference, STEPS), strict=True):
        np.testing.assert_array_equal(resumed, expected)


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(undisturbed):
    before = (undisturbed / "metrics.jsonl").read_bytes()
    finished = tiny.run(undisturbed)
    assert finished.returncode == 0
    assert "already trained for 40 steps" in finished.stdout
    assert (undisturbed / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_another_model_is_refused_and_nothing_overwritten(undisturbed):
    before = (undisturbed / "config.json").read_bytes()
    finished = tiny.run(undisturbed, model__width=24)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("error: ")
    assert "config.model.width was 16, now 24" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert (undisturbed / "config.json").read_bytes() == before
