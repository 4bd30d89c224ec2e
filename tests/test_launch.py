"""The files under launch/, without a cluster: their syntax, their schemas, and what the scripts do with stand-ins."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests import tiny

LAUNCH = tiny.ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
JOBSETS = sorted(LAUNCH.glob("*.yaml"))
ids = lambda path: path.name  # noqa: E731


@pytest.mark.parametrize("path", SCRIPTS + JOBSETS, ids=ids)
def test_a_file_opens_with_its_commands_and_holds_no_secret(path):
    text = path.read_text()
    head = text[: text.index("\n\n")] if path.suffix == ".sh" else text[: text.index("apiVersion")]
    for word in ("start:", "watch:", "stop:", "resume:"):
        assert re.search(rf"^# {word} +\S", head, re.MULTILINE), word
    assert not re.search(r"\b[0-9a-f]{40}\b", text)  # what a key of W&B looks like
    configs = re.findall(r"--config=(\S+\.py)", text)
    assert configs and all((tiny.ROOT / config).is_file() for config in configs)


@pytest.mark.parametrize("path", JOBSETS, ids=ids)
def test_a_jobset_is_deleted_before_it_is_resumed(path):
    """The controller starts nothing for a set that is there, and refuses another `replicatedJobs`."""
    resume = re.search(r"^# resume: +(.*):$", path.read_text(), re.MULTILINE)[1]
    name = yaml.safe_load(path.read_text())["metadata"]["name"]
    delete = f"kubectl delete jobset {name} --cascade=foreground --ignore-not-found"
    assert resume == f"{delete} && kubectl apply -f launch/{path.name}"


def test_the_secret_that_the_docs_make_holds_the_key_alone(programs, tmp_path):
    (line,) = re.findall(r"^.*kubectl create secret .*$", (tiny.ROOT / "docs" / "launch.md").read_text(), re.MULTILINE)
    _stand_in(programs, "kubectl", f"cat >{shlex.quote(str(tmp_path / 'key'))}")
    subprocess.run(["bash", "-c", line], env=tiny.environment(WANDB_API_KEY="k" * 40), check=True)
    assert (tmp_path / "key").read_text() == "k" * 40


@pytest.mark.parametrize("path", SCRIPTS, ids=ids)
def test_scripts_pass_the_shell_and_shellcheck(path):
    subprocess.run(["bash", "-n", path], check=True)
    checked = subprocess.run([Path(sys.executable).with_name("shellcheck"), path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_shellcheck_finds_what_is_wrong(tmp_path):
    (tmp_path / "wrong.sh").write_text("#!/bin/bash\nrm $1\n")
    command = [Path(sys.executable).with_name("shellcheck"), tmp_path / "wrong.sh"]
    assert "SC2086" in subprocess.run(command, capture_output=True, text=True).stdout


def _stand_in(folder, name, body):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of stand-ins, first of PATH, that note what they were called with in `calls`."""
    folder = tmp_path / "bin"
    calls = shlex.quote(str(tmp_path / "calls"))
    _stand_in(folder, "scontrol", f'echo "scontrol $*" >>{calls}')
    # SLURM brings the signal to the processes of the step, of which the stand-in of srun is the only one.
    _stand_in(folder, "scancel", f'echo "scancel $*" >>{calls}; kill -USR1 $(cat {shlex.quote(str(tmp_path))}/step)')
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    monkeypatch.setenv("PYTHON", sys.executable)
    return folder


def _calls(tmp_path):
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(("status", "calls"), [(0, []), (1, []), (137, []), (143, ["scontrol requeue 77"])])
def test_slurm_queues_again_what_has_saved_before_the_time_limit(programs, tmp_path, status, calls):
    _stand_in(programs, "srun", f"exit {status}")
    finished = subprocess.run(["bash", LAUNCH / "slurm.sh", "--workdir=x"], capture_output=True, check=False)
    assert finished.returncode == status
    assert _calls(tmp_path) == calls


def test_slurm_queues_a_crash_again_that_came_late(programs, tmp_path):
    _stand_in(programs, "srun", "exit 137")
    subprocess.run(["bash", "-c", f"SECONDS=3600; source {LAUNCH / 'slurm.sh'}"], capture_output=True, check=False)
    assert _calls(tmp_path) == ["scontrol requeue 77"]


def _wait_for(path, seconds=20):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _saves_on(signal_name, tmp_path, status, otherwise=""):
    """The body of a program that runs until the signal, then takes a while to save."""
    saves = f"trap '' {signal_name}; sleep 0.3; echo saved >>{tmp_path}/calls; exit {status}"
    return f"trap '{saves}' {signal_name}; {otherwise}touch {tmp_path}/runs; while :; do sleep 0.05; done"


@pytest.mark.parametrize("status", [0, 143])
def test_slurm_asked_to_stop_tells_the_processes_but_not_srun_and_waits_for_the_save(programs, tmp_path, status):
    kills = f"echo $$ >{tmp_path}/step; trap 'echo killed >>{tmp_path}/calls; exit 137' TERM; "  # as srun does
    _stand_in(programs, "srun", _saves_on("USR1", tmp_path, status, kills))
    process = subprocess.Popen(["bash", LAUNCH / "slurm.sh"])
    _wait_for(tmp_path / "runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == status
    assert _calls(tmp_path) == ["scancel --signal=TERM 77", "saved"]


def test_there_are_minutes_to_save_in():
    seconds = [re.search(r"^#SBATCH --signal=TERM@(\d+)$", (LAUNCH / "slurm.sh").read_text(), re.MULTILINE)[1]]
    for path in JOBSETS:
        (each,) = yaml.safe_load(path.read_text())["spec"]["replicatedJobs"]
        seconds.append(each["template"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])
    assert min(map(int, seconds)) >= 120


@pytest.mark.slow
def test_slurm_trains_and_goes_on(programs, tmp_path, monkeypatch):
    _stand_in(programs, "srun", '[[ "$1 $2" == "--kill-on-bad-exit=1 --cpus-per-task=8" ]] || exit 9; exec "${@:3}"')
    for steps in (3, 5):
        flags = tiny.command(tmp_path / "run", train__duration=f"{steps}steps")[3:]
        finished = subprocess.run(
            ["bash", LAUNCH / "slurm.sh", *flags], cwd=tiny.ROOT, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
    assert "step 3 to 5" in finished.stdout


@pytest.fixture
def tpu(programs, tmp_path, monkeypatch):
    """Stand-ins for the metadata server of a worker and for gcloud."""
    answers = "*worker-network-endpoints) echo $ENDPOINTS;; *agent-worker-number) echo 2;; *) exit 22;;"
    _stand_in(programs, "curl", f'case "${{@: -1}}" in {answers} esac')
    calls = shlex.quote(str(tmp_path / "calls"))
    _stand_in(programs, "gcloud", f"""case $1 in secrets) echo secret-key;; *) printf '%s\\n' "$@" >>{calls};; esac""")
    _stand_in(
        programs,
        "python",
        f"""echo "$JAX_COORDINATOR_ADDRESS $JAX_NUM_PROCESSES $JAX_PROCESS_ID $WANDB_API_KEY $*" >>{calls}
        (($(wc -l <{calls}) >= ${{SUCCEEDS:-1}})) || exit ${{FAILS_WITH:-1}}""",
    )
    for name, value in {"TPU": "t", "ZONE": "z", "RESTART_DELAY": "0", "PYTHON": str(programs / "python")}.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: subprocess.run(
        ["bash", LAUNCH / "tpu_vm.sh", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("endpoints", ["host-0,host-1,host-2", "a:1:host-0,b:2:host-1,c:3:host-2"])
def test_a_tpu_worker_tells_jax_what_the_metadata_say(tpu, tmp_path, monkeypatch, endpoints):
    monkeypatch.setenv("ENDPOINTS", endpoints)
    monkeypatch.setenv("WANDB_SECRET", "wandb")
    assert tpu("worker", "--workdir=a b").returncode == 0
    assert _calls(tmp_path) == ["host-0:8476 3 2 secret-key -m experiments.train --workdir=a b"]


def test_a_lone_tpu_worker_joins_nobody_and_a_run_that_fails_is_tried_again(tpu, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDPOINTS", "host-0")
    monkeypatch.setenv("SUCCEEDS", "3")
    finished = tpu("worker", "--workdir=x")
    assert finished.returncode == 0 and "status 1: 8 more attempts" in finished.stdout
    assert _calls(tmp_path) == ["    -m experiments.train --workdir=x"] * 3
    monkeypatch.setenv("SUCCEEDS", "99")
    assert tpu("worker").returncode == 1
    assert len(_calls(tmp_path)) == 3 + 10


def test_a_tpu_worker_does_not_try_a_refused_configuration_again(tpu, tmp_path, monkeypatch):
    for name, value in {"ENDPOINTS": "host-0", "SUCCEEDS": "99", "FAILS_WITH": "2"}.items():
        monkeypatch.setenv(name, value)
    assert tpu("worker").returncode == 2
    assert len(_calls(tmp_path)) == 1


def test_a_tpu_worker_passes_sigterm_on_and_does_not_start_again(tpu, programs, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDPOINTS", "host-0")
    _stand_in(programs, "python", _saves_on("TERM", tmp_path, 143))
    process = subprocess.Popen(["bash", LAUNCH / "tpu_vm.sh", "worker"], cwd=tmp_path)
    _wait_for(tmp_path / "runs")
    assert int((tmp_path / "faceflax.pid").read_text()) == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert _calls(tmp_path) == ["saved"]
    assert not (tmp_path / "faceflax.pid").exists()


def test_a_second_tpu_worker_leaves_the_first_alone_and_a_stale_number_stops_nobody(
    tpu, programs, tmp_path, monkeypatch
):
    monkeypatch.setenv("ENDPOINTS", "host-0")
    _stand_in(programs, "python", _saves_on("TERM", tmp_path, 143))
    first = subprocess.Popen(["bash", LAUNCH / "tpu_vm.sh", "worker"], cwd=tmp_path)
    _wait_for(tmp_path / "runs")
    second = tpu("worker")
    assert second.returncode == 1 and f"under way here already, as process {first.pid}" in second.stderr
    assert int((tmp_path / "faceflax.pid").read_text()) == first.pid
    first.terminate()
    assert first.wait(timeout=20) == 143
    (tmp_path / "faceflax.pid").write_text(f"{os.getpid()}\n")  # a number that another program has by now
    _stand_in(programs, "python", "exit 0")
    assert tpu("worker").returncode == 0


@pytest.fixture
def two_workers(tpu, tmp_path, monkeypatch):
    """Returns a function that starts the workers of two hosts, both on this machine, on a training in `workdir`."""
    values = {"ENDPOINTS": "127.0.0.1,127.0.0.1", "PYTHON": sys.executable, "RESTART_DELAY": "5"}
    for name, value in (values | {"PYTHONPATH": str(tiny.ROOT)}).items():
        monkeypatch.setenv(name, value)
    started = []

    def start(workdir):
        monkeypatch.setenv("JAX_COORDINATOR_PORT", str(tiny.free_port()))
        flags = tiny.command(workdir, train__duration="120steps", train__eval_every="120steps")[4:]
        command = ["bash", LAUNCH / "tpu_vm.sh", "worker", f"--config={tiny.ROOT}/configs/smoke.py", *flags]
        for index in (0, 1):
            host = tmp_path / f"host-{index}"
            answers = f"*agent-worker-number) echo {index};; *) echo $ENDPOINTS;;"
            _stand_in(host, "curl", f'case "${{@: -1}}" in {answers} esac')
            environment = tiny.environment(PATH=f"{host}:{os.environ['PATH']}")
            output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, cwd=host, env=environment, **output))
        return started[-2:]

    yield start
    for worker in started:
        worker.terminate()
        worker.wait()


def _end(workers):
    """Waits for both; returns what each printed."""
    outputs = [worker.communicate(timeout=1800)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "".join(outputs)
    return outputs


@pytest.mark.slow
def test_two_workers_of_whom_one_is_killed_end_as_if_nothing_had_been(two_workers, tmp_path):
    _end(two_workers(tmp_path / "undisturbed"))
    expected = tiny.state(tmp_path / "undisturbed", 120)
    for victim in (0, 1):
        workdir = tmp_path / f"killed-{victim}"
        workers = two_workers(workdir)
        _wait_for(workdir / "checkpoints" / "20", seconds=600)
        training = subprocess.run(["pgrep", "-P", str(workers[victim].pid)], capture_output=True, text=True, check=True)
        os.kill(int(training.stdout.split()[0]), signal.SIGKILL)
        outputs = _end(workers)
        assert "status 137" in outputs[victim]
        assert re.search(r"step [1-9]\d*0 to 120", outputs[0]), outputs[0]
        for array, reference in zip(tiny.state(workdir, 120), expected, strict=True):
            np.testing.assert_array_equal(array, reference)


def test_a_tpu_start_reaches_the_worker_with_its_words_unchanged(tpu, tmp_path, monkeypatch):
    """What gcloud would run on the workers is run here, in a folder as theirs."""
    words = ["--config.tasks='noise 50','sr'", "--workdir=/mnt/a b; touch broken"]
    assert tpu("start", *words).returncode == 0
    *head, remote = (tmp_path / "calls").read_text().split("--command=")
    assert "--worker=all" in head[0]
    (tmp_path / "faceflax" / "launch").mkdir(parents=True)
    (tmp_path / "faceflax" / "launch" / "tpu_vm.sh").write_text("printf '%s\\n' \"$@\" >words.new; mv words.new words")
    subprocess.run(["bash", "-c", remote], cwd=tmp_path, check=True)
    _wait_for(tmp_path / "faceflax" / "words")
    assert (tmp_path / "faceflax" / "words").read_text().splitlines() == ["worker", *words]
    assert not list(tmp_path.rglob("broken"))


def test_an_unknown_tpu_command_is_one_sentence(tpu):
    finished = tpu("launch")
    assert finished.returncode == 1 and finished.stderr.startswith("error: say install, start, watch or stop")
