"""Sweeps: what a file allows, and that every point gets one result whatever is killed on the way."""

import contextlib
import csv
import datetime
import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import wandb
import yaml

from faceflax.errors import RefusedError, UserError
from faceflax.sweeps import agent, file, report, space
from faceflax.sweeps.store import Result, Store
from faceflax.training import loop, processes, tracking, workdir
from tests import tiny

ROOT = Path(__file__).parent.parent
COMMAND = ["${interpreter}", "-m", "tests.programs.fake_trial", "${args}"]


def write(path, **fields):
    """A sweep file of fake trials."""
    sweep = {"program": "x.py", "method": "grid", "metric": {"name": "eval/psnr", "goal": "maximize"}}
    path.write_text(yaml.safe_dump(sweep | {"parameters": {"x": {"values": [1.0, 2.0]}}, "command": COMMAND} | fields))
    return path


def work(sweep, folder, count=None, slots=("",), seed=0):
    """Runs a sweep in this process; returns its results."""
    store = Store(folder, sweep, seed=seed, count=count)
    assert agent.run(sweep, store, folder, slots=slots, say=lambda line: None) == 0
    results = store.results()
    store.close()
    return results


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min": 2.0, "max": 5.0}, scipy.stats.uniform(2, 3)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}, scipy.stats.loguniform(1e-4, 1e-1)),
        ({"distribution": "log_uniform", "min": -3, "max": 1}, scipy.stats.loguniform(np.exp(-3), np.exp(1))),
        ({"distribution": "normal", "mu": 2, "sigma": 3}, scipy.stats.norm(2, 3)),
        ({"mu": 2.0}, scipy.stats.norm(2, 1)),
        ({"distribution": "log_normal", "mu": 0, "sigma": 1}, scipy.stats.lognorm(1)),
        ({"distribution": "beta", "a": 2, "b": 5}, scipy.stats.beta(2, 5)),
        ({"min": 3, "max": 6}, scipy.stats.randint(3, 7)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, None),
        ({"values": [1, 2, 3], "probabilities": [0.5, 0.5, 0.0]}, scipy.stats.randint(1, 3)),
    ],
)
def test_draws_have_the_distribution_that_the_file_names(options, expected):
    points = space.parse({"p": options})
    values, others = (np.array([points.draw(seed, number)["p"] for number in range(2000)]) for seed in (0, 1))
    assert points.draw(0, 7) == points.draw(0, 7) == {"p": values[7]}
    assert (values != others).any()
    if expected is None:
        assert set(values) == {0, 0.25, 0.5, 0.75, 1}
    elif hasattr(expected.dist, "pmf"):
        assert set(values) == set(range(int(expected.support()[0]), int(expected.support()[1]) + 1))
    else:
        assert scipy.stats.kstest(values, expected.cdf).pvalue > 1e-3


def test_a_grid_has_every_point_once():
    points = space.parse({"a": {"values": [1, 2]}, "b": {"value": "x"}, "c": {"min": 0, "max": 2}}).grid()
    assert len(points) == 6 and points[0] == {"a": 1, "b": "x", "c": 0} and points[1]["c"] == 1
    with pytest.raises(UserError, match="grid needs a list of values for a"):
        space.parse({"a": {"min": 0.0, "max": 1.0}}).grid()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"method": "magic"}, 'method "magic" is not known'),
        ({"parameters": {}}, "no parameters"),
        ({"parameters": {"x": {"min": 1.0}}}, "a uniform distribution needs max"),
        ({"parameters": {"x": {"min": 2.0, "max": 1.0}}}, "min 2.0 is above max 1.0"),
        ({"parameters": {"x": {"min": "1e-4", "max": 1.0}}}, "write 1.0e-4, not 1e-4"),
        ({"parameters": {"x": {"distribution": "zipf"}}}, '"zipf" is not known'),
        ({"parameters": {"x": {"parameters": {"y": {"value": 1}}}}}, "names with dots: x.field"),
        ({"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "a min above 0"),
        ({"parameters": {"x": {"min": 0.0, "max": float("inf")}}}, "max is inf, which is no number"),
        ({"parameters": {"x": {"values": ["1.0e4", "1.0"]}}}, "write 1.0e-4, not 1e-4"),
        ({"parameters": {"x": {"value": "-1e-4"}}}, "write 1.0e-4, not 1e-4"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.6]}}}, "sums to 1"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": 0.5}}}, "probabilities must be a list"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": ["x", "y"]}}}, "probabilities must be a list"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [-1, 2]}}}, "probabilities must be a list"),
        ({"parameters": {"x": {"min": 0, "max": 1, "probabilities": [1]}}}, "does not take probabilities"),
        ({"parameters": {"x": {"min": 0.0, "max": 1.0, "q": 0.1}}}, "a uniform distribution does not take q"),
        ({"parameters": {"x": {"distribution": "int_uniform", "min": 1.5, "max": 3}}}, "takes whole numbers, not 1.5"),
        ({"parameters": {"x": {"distribution": "log_uniform", "min": 1, "max": 1000}}}, "exponents of e"),
        ({"parameters": {"x": {"distribution": "log_normal", "mu": 1000}}}, "are of the logarithm"),
        ({"parameters": {"x": {"distribution": ["normal"]}}}, "is not known"),
        ({"parameters": {5: {"value": 1}}}, "parameter 5 is named by no text"),
        ({"parameters": {"x": {"value": datetime.date(2026, 11, 30)}}}, "holds a date"),
        ({"metric": {"goal": "maximize"}}, "metric needs a name"),
        ({"metric": {"name": 5}}, "metric needs a name, which is text"),
        ({"metric": {"name": "x", "gaol": "maximize"}}, "metric does not take gaol"),
        ({"metric": {"name": "x", "target": "3e1"}}, "target is '3e1', which is no number (write 1.0e-4"),
        ({"metric": {"name": "x", "target": "thirty"}}, "which is no number"),
        ({"speed": 3}, '"speed" is no key'),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"run_cap": True}, "run_cap is True"),
        ({"program": 5}, "program is 5"),
        ({"command": ["python", None]}, "command has null in it"),
        ({"command": "python x.py"}, "a list of words"),
        ({"early_terminate": {"type": "median"}}, "one type: hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter"),
        ({"early_terminate": {"type": "hyperband", "max_iter": "9"}}, "max_iter is '9'; it must be a whole number"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "s": "2"}}, "s is '2'; it must be a whole number"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "eta": 0}}, "eta is 0"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "eta is 1; it must be at least 2"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "speed": 1}}, "does not take speed"),
    ],
)
def test_what_a_file_cannot_say_is_one_sentence(tmp_path, fields, sentence):
    with pytest.raises(UserError, match=r"sweep\.yaml: ") as caught:
        file.read(write(tmp_path / "sweep.yaml", **fields))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_macros_become_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    words = ["${env}", "${interpreter}", "${program}", "--at=${envvar:PLACE}", "${args}", "${args_json}"]
    sweep = file.read(write(tmp_path / "s.yaml", command=words))
    point = {"config.optim.lr": 3e-4, "config.tasks": "'sr','noise 50'", "n": 2}
    flags = ["--config.optim.lr=0.0003", "--config.tasks='sr','noise 50'", "--n=2"]
    expected = ["/usr/bin/env", sys.executable, "x.py", "--at=here", *flags, json.dumps(point), "--workdir=w"]
    assert file.command(sweep, point, ("--workdir=w",)) == expected
    with pytest.raises(UserError, match="does not know"):
        file.command(file.read(write(tmp_path / "s.yaml", command=["${args_dvc}"])), point)


def test_a_failed_trial_is_tried_once_more_and_recorded(tmp_path):
    fields = {"x": {"value": 1.0}, "fail": {"values": [0, 1, 2]}}
    sweep = file.read(write(tmp_path / "s.yaml", parameters=fields))
    results = work(sweep, tmp_path / "sweep", slots=("", ""))
    assert [result.state for result in results] == ["complete", "complete", "failed"]
    assert [result.value for result in results] == [4.0, 4.0, None] and results[2].reason == "status 1"
    assert (tmp_path / "sweep" / "trial-0002.log").read_text().count("this trial fails") == 2
    starts = [len((tmp_path / f"sweep/trial-000{n}/starts.txt").read_text().splitlines()) for n in range(3)]
    assert starts == [1, 2, 2]
    group, identifier = (tmp_path / "sweep/trial-0000/starts.txt").read_text().split()
    assert group == "s" and re.fullmatch("s-[0-9a-f]{6}-trial-0000", identifier)
    with pytest.raises(UserError, match="holds another sweep"):
        Store(tmp_path / "sweep", sweep, seed=1, count=None)


def test_a_refused_point_is_not_tried_again(tmp_path):
    sweep = file.read(
        write(tmp_path / "s.yaml", parameters={"x": {"value": 1.0}, "fail": {"value": 1}, "status": {"value": 2}})
    )
    (result,) = work(sweep, tmp_path / "sweep")
    assert (result.state, result.reason) == ("failed", "refused")
    assert len((tmp_path / "sweep/trial-0000/starts.txt").read_text().splitlines()) == 1


def test_a_warm_up_longer_than_the_training_is_refused(tmp_path):
    config = tiny.config(train__duration="3steps", optim__warmup="3steps")
    with pytest.raises(RefusedError, match="3 steps of 3"):
        loop.train(config, tmp_path, None, lambda arm: None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data__batch_size": 9, "optim__accumulate": 2}, "multiple of 2"),
        ({"parallel__mesh__data": 3}, "does not cover the 1 device"),
    ],
)
def test_what_other_devices_could_train_is_not_refused_for_all_machines(tmp_path, fields, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        loop.train(tiny.config(**fields), tmp_path, None, lambda arm: None)
    assert caught.value.status == 1


def test_trials_at_once_have_a_gpu_each(tmp_path):
    fields = {"x": {"values": [1.0, 2.0, 3.0, 4.0]}, "seconds": {"value": 0.1}}
    sweep = file.read(write(tmp_path / "s.yaml", parameters=fields))
    results = work(sweep, tmp_path / "sweep", slots=("3", "GPU-5a"))
    assert [result.state for result in results] == ["complete"] * 4  # a trial fails whose GPU another one has
    starts = [len(path.read_text().splitlines()) for path in (tmp_path / "sweep").glob("trial-*/starts.txt")]
    assert starts == [1] * 4
    assert {path.name for path in (tmp_path / "sweep").glob("gpu-*")} == {"gpu-3", "gpu-GPU-5a"}


def test_gpus_keep_the_names_that_the_environment_gives_them(monkeypatch):
    monkeypatch.setattr(processes, "_PROBE", "print(2)")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert processes.gpus() == ["4", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert processes.gpus() == ["0", "1"]
    monkeypatch.setattr(processes, "_PROBE", "print(0)")
    assert processes.gpus() == []


def test_where_jax_does_not_start_no_gpus_are_handed_out_and_that_is_said(monkeypatch, capfd):
    monkeypatch.setattr(processes, "_PROBE", "print(2); raise RuntimeError('the device is in use')")
    assert processes.gpus() == []
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("no GPUs are handed out") and said.endswith("RuntimeError: the device is in use")


def test_a_trial_whose_metric_is_not_finite_fails_with_its_reason_and_is_tried_once_more(tmp_path):
    sweep = file.read(write(tmp_path / "s.yaml", parameters={"x": {"value": 1.0}, "y": {"values": [0.0, math.inf]}}))
    results = work(sweep, tmp_path / "sweep", slots=("", ""))
    assert [(result.state, result.reason) for result in results] == [("complete", ""), ("failed", "eval/psnr is inf")]
    assert len((tmp_path / "sweep/trial-0001/starts.txt").read_text().splitlines()) == 2
    assert "inf,failed,eval/psnr is inf" in _csv_of(sweep, results, tmp_path)


def _csv_of(sweep, results, folder):
    written = report.write(sweep, results, folder / "report", {})
    assert "parallel.png" not in [path.name for path in written]  # one finite value makes no picture
    return (folder / "report" / "trials.csv").read_text()


def test_a_trial_that_was_interrupted_is_not_told_as_one_that_never_started(tmp_path):
    sweep = file.read(write(tmp_path / "s.yaml"))
    agents = [Store(tmp_path / "sweep", sweep, seed=0, count=None) for _ in range(2)]
    trial = agents[0].ask()
    trial.report(1, 4.0)
    trial.interrupt()
    assert [(result.state, result.value) for result in agents[0].results()] == [("interrupted", 4.0), ("waiting", None)]
    taken = [agents[0].ask() for _ in range(2)]  # then the agent is killed
    assert {result.state for result in agents[0].results()} == {"running"}
    agents[0]._lock.close()
    assert agents[1].ask().slot in {trial.slot for trial in taken}
    assert sorted(result.state for result in agents[1].results()) == ["interrupted", "running"]


def test_a_bayesian_search_finds_the_better_half_and_stops_bad_trials(tmp_path):
    fields = {"x": {"min": 0.0, "max": 1.0}, "seconds": {"value": 0.05}}
    hyperband = {"type": "hyperband", "min_iter": 1, "eta": 2}
    path = write(tmp_path / "s.yaml", method="bayes", parameters=fields, early_terminate=hyperband, run_cap=16)
    results = work(file.read(path), tmp_path / "sweep")
    assert len(results) == 16 and {result.state for result in results} == {"complete", "stopped early"}
    best = max(results, key=lambda result: result.value)
    assert best.state == "complete" and best.point["x"] > 0.7
    stopped = [result for result in results if result.state == "stopped early"]
    assert max(result.point["x"] for result in stopped) < best.point["x"]


def test_a_larger_count_adds_trials_and_an_agent_of_the_same_name_is_another(tmp_path):
    path = write(tmp_path / "s.yaml", method="random", parameters={"x": {"min": 0.0, "max": 1.0}})
    first = work(file.read(path), tmp_path / "sweep", count=2)
    killed = Store(tmp_path / "sweep", file.read(path), seed=0, count=3)
    assert killed.ask().slot == 2
    killed._lock.close()  # as the system does for a killed process
    results = work(file.read(path), tmp_path / "sweep", count=3)
    assert results[:2] == first and len(results) == 3 and results[2].state == "complete"


def test_two_agents_at_once_never_take_the_same_trial(tmp_path):
    sweep = file.read(write(tmp_path / "s.yaml", parameters={"x": {"values": [1.0, 2.0, 3.0, 4.0]}}))
    agents = [Store(tmp_path / "sweep", sweep, seed=0, count=None) for _ in range(2)]
    assert agents[0].identity == agents[1].identity
    assert agents[0].identity != Store(tmp_path / "other", sweep, seed=0, count=None).identity
    taken = [agents[number % 2].ask() for number in range(4)]
    assert sorted(trial.slot for trial in taken) == [0, 1, 2, 3]
    assert agents[0].ask() is None and agents[1].ask() is None and not agents[0].is_over()
    for trial in taken:
        trial.complete(1.0)
    assert agents[0].is_over() and agents[1].is_over()


def test_a_trial_whose_folder_still_trains_holds_up_no_other(tmp_path):
    sweep = file.read(write(tmp_path / "s.yaml"))
    store, said = Store(tmp_path / "sweep", sweep, seed=0, count=None), []
    held = contextlib.ExitStack()
    held.enter_context(workdir.locked(tmp_path / "sweep/trial-0000"))  # as by a training whose agent was killed

    def say(line):
        said.append(line)
        if line.startswith("trial-0001 ends"):
            held.close()

    assert agent.run(sweep, store, tmp_path / "sweep", slots=("", ""), say=say) == 0
    assert [line.split(":")[0] for line in said][:2] == ["trial-0001 starts", "trial-0001 ends with eval/psnr 8"]
    assert [result.value for result in store.results()] == [4.0, 8.0]


def test_searches_without_end_or_of_another_kind_are_refused(tmp_path):
    draw = {"x": {"distribution": "normal"}}
    shares = {"x": {"values": [1, 2], "probabilities": [0.9, 0.1]}}
    stepped = {"x": {"distribution": "q_log_uniform_values", "min": 1, "max": 8}}
    for fields, count, sentence in [
        ({"method": "random"}, None, "has no end"),
        ({"method": "bayes", "parameters": draw}, 3, "does not know normal"),
        ({"method": "bayes", "parameters": shares}, 3, "does not know categorical_w_probabilities"),
        ({"method": "bayes", "parameters": stepped}, 3, "does not know q_log_uniform_values"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": True}}, None, "does not know strict"),
    ]:
        sweep = file.read(write(tmp_path / "s.yaml", **fields))
        with pytest.raises(UserError, match=sentence):
            Store(tmp_path / "sweep", sweep, seed=0, count=count)


def test_no_trial_starts_once_the_target_is_reached(tmp_path):
    metric = {"name": "eval/psnr", "goal": "maximize", "target": 6}
    path = write(tmp_path / "s.yaml", metric=metric, parameters={"x": {"values": [1.0, 2.0, 3.0]}})
    states = [result.state for result in work(file.read(path), tmp_path / "sweep")]
    assert states == ["complete", "complete", "waiting"]


def run_program(*arguments, **variables):
    """Runs `python -m experiments.sweep`; returns the finished process, with its output as text."""
    command = [sys.executable, "-m", "experiments.sweep", *arguments]
    environment = tiny.environment(**variables)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_agents_that_srun_starts_are_alone_and_so_are_their_trials(tmp_path):
    words = ["env", "${interpreter}", "-m", "tests.programs.fake_trial", "${args}"]
    path = write(tmp_path / "s.yaml", command=words, parameters={"x": {"value": 1.0}})
    variables = {"SLURM_JOB_ID": 77, "SLURM_NTASKS": 2, "SLURM_PROCID": 0, "JAX_NUM_PROCESSES": 2}
    finished = run_program(f"--sweep={path}", f"--workdir={tmp_path / 'sweep'}", **variables)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "sweep/trial-0000/processes.txt").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--id=abc",), "give --backend=wandb with it"),
        (("--backend=wandb", "--parallel=2"), "one trial at a time"),
        (("--backend=wandb", "--seed=1"), "leave --seed out"),
        (("--backend=wandb", "--id=abc", "--workdir=w"), "leave --workdir out"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(arguments, sentence):
    finished = run_program("--sweep=configs/sweeps/lr.yaml", *arguments)
    assert finished.returncode == 1 and finished.stderr.startswith("error: ") and sentence in finished.stderr


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_ends_with_every_result_once(tmp_path):
    fields = {"x": {"values": [1.0, 2.0, 3.0, 4.0]}, "y": {"values": [0.0, 0.1, 0.2]}, "seconds": {"value": 0.2}}
    path = write(tmp_path / "s.yaml", parameters=fields)
    folder = tmp_path / "sweep"
    command = [sys.executable, "-m", "experiments.sweep", f"--sweep={path}", f"--workdir={folder}", "--parallel=3"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while len(list(folder.glob("*/completions.txt"))) < 4:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    rows = list(csv.DictReader((folder / "report" / "trials.csv").read_text().splitlines()))
    assert len(rows) == 12 and {row["state"] for row in rows} == {"complete"}
    for row in rows:
        assert float(row["eval/psnr"]) == pytest.approx(4 * float(row["x"]) + float(row["y"]))
        done = folder / f"trial-{int(row['trial']):04d}" / "completions.txt"
        assert done.read_text().splitlines() == ["done"]
    assert (folder / "report" / "parallel.png").read_bytes().startswith(b"\x89PNG")
    best = (folder / "report" / "ranking.md").read_text().splitlines()[4].split()
    assert best[1:8:2] == ["1", "0.2", "4", "0.2"]  # rank, seconds, x, y


def test_the_ranking_joins_seeds_and_puts_failures_last(tmp_path):
    parameters = {"config.lr": {"values": [1e-3, 1e-4]}, "config.seed": {"values": [0, 1]}}
    sweep = file.read(write(tmp_path / "s.yaml", parameters=parameters))
    points = sweep.space.grid()
    values = [20.0, 22.0, 30.0, None]
    results = [
        Result(slot, point, "complete" if value else "failed", value, "" if value else "status 1")
        for slot, (point, value) in enumerate(zip(points, values, strict=True))
    ]
    table = report.ranking(sweep, results)
    assert table.rows[0][:3] == ["1", "0.0001", "30"] and table.rows[0][4:] == ["2", "complete, failed"]
    assert table.rows[1] == ["2", "0.001", "21", "[20, 22]", "2", "complete"]
    written = report.write(sweep, results, tmp_path / "report", {"seed": 0})
    assert {path.name for path in written} == {"trials.csv", "ranking.md", "parallel.png", "manifest.json"}


def test_w_and_b_runs_take_the_sweeps_names(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "lr")
    monkeypatch.setenv("WANDB_RUN_ID", "lr-trial-0003")
    run = tracking.Wandb(tiny.config(wandb__mode="offline"), tmp_path)
    run.write(1, {"eval/psnr": 20.0})
    run.close(failed=False)
    assert list((tmp_path / "wandb").glob("offline-run-*-lr-trial-0003"))
    assert run._run.group == "lr"


def test_sweeps_of_w_and_b_need_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="need a key"):
        tracking.register_sweep({"program": "x"}, ())


def test_a_key_that_cannot_be_one_is_one_sentence(tmp_path, monkeypatch):
    def login(**options):
        raise wandb.errors.UsageError("API key cannot start or end with whitespace")

    monkeypatch.setattr(wandb, "login", login)
    for what, begin in [
        ("sweep", lambda: tracking.register_sweep({"program": "x"}, ())),
        ("run", lambda: tracking.Wandb(tiny.config(wandb__mode="auto"), tmp_path)),
    ]:
        with pytest.raises(UserError, match=rf"does not take the {what} \(API key cannot .*\); mend the key"):
            begin()


class _Server:
    """Stands in for W&B's library: notes what it is asked, or refuses it."""

    Error = wandb.Error

    def __init__(self, refusal=""):
        self.asked, self._refusal = [], refusal

    def login(self, **options):
        return True

    def sweep(self, described, **place):
        if self._refusal:
            raise wandb.Error(self._refusal)
        self.asked.append((described, place))
        return "abc123"

    def agent(self, identifier, **options):
        self.asked.append((identifier, options))


def test_a_sweep_is_registered_with_w_and_b_and_an_agent_runs(tmp_path, monkeypatch):
    server = _Server()
    monkeypatch.setitem(sys.modules, "wandb", server)
    source = file.read(write(tmp_path / "s.yaml", project="p")).source
    identifier = tracking.register_sweep(source, ("--workdir=runs/s/$WANDB_RUN_ID",))
    tracking.run_sweep_agent(identifier, source, 2)
    place = {"project": "p", "entity": None}
    described = source | {"command": [*COMMAND, "--workdir=runs/s/$WANDB_RUN_ID"]}
    assert server.asked == [(described, place), ("abc123", {"count": 2} | place)]


def test_what_w_and_b_refuses_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", _Server("no such project\nand more"))
    with pytest.raises(UserError, match=r"does not take the sweep \(no such project\)"):
        tracking.register_sweep({"program": "x"}, ())
