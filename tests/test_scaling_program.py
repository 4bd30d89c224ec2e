"""The scaling study's program: measured, trained, gone on with, by several processes, and killed."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests import tiny


def _command(workdir, **fields):
    study = {f"experiment.{name}": value for name, value in tiny.FIELDS.items()}
    study |= {"experiment.data.dataset": "mini_faces", "experiment.data.folder": ""}
    study |= {"counts": (1, 2), "layouts": ("data",), "strong_batch": 4, "weak_batch": 2, "rounds": 2, "steps": 1}
    study |= {"laws.widths": ()} | {name.replace("__", "."): value for name, value in fields.items()}
    flags = [f"--config.{name}={value}" for name, value in study.items()]
    return [sys.executable, "-m", "experiments.scaling", "--config=configs/scaling.py", f"--workdir={workdir}", *flags]


def _run(workdir, **fields):
    finished = subprocess.run(_command(workdir, **fields), cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def _cell(workdir, name):
    return json.loads((workdir / "cells" / "cpu" / f"{name}.json").read_text())["cell"]


def test_a_study_without_a_law_is_refused_before_anything_is_made(tmp_path):
    command = _command(tmp_path / "study", laws__widths=(8, 16, 24), experiment__train__duration="9epochs")
    finished = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 1 and "each of 400 images 9.0 times" in finished.stderr, finished.stderr
    assert len(finished.stderr.splitlines()) == 1 and not (tmp_path / "study").exists()


@pytest.mark.slow
def test_the_program_measures_trains_and_goes_on(tmp_path):
    fields = {"experiment__train__duration": "12steps", "experiment__train__eval_every": "4steps"}
    fields |= {"experiment__optim__warmup": "1steps", "laws__widths": (8, 12, 16), "layouts": ("data", "pmap")}
    said = _run(tmp_path, **fields)
    assert said.index("measuring weak-pmap-2 on cpu") < said.index("counting the operations of width8_depth1")
    assert said.index("counting the operations of width16_depth1") < said.index("width8_depth1-0  ")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "width16_depth1-1" in text and "H100 x 256" in text and "v5p-1024" in text
    kept, one = _cell(tmp_path, "strong-data-2"), _cell(tmp_path, "strong-data-1")
    assert kept["traffic"]["all-reduce"][1] >= one["parameter_bytes"] and not one["traffic"]
    before = (tmp_path / "report" / "cells.csv").read_bytes()
    assert "measuring" not in _run(tmp_path, **fields)
    assert (tmp_path / "report" / "cells.csv").read_bytes() == before


@pytest.mark.slow
def test_two_processes_measure_together_and_the_first_writes(tmp_path):
    _run(tmp_path, counts=(1,))
    names = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{tiny.free_port()}", "JAX_NUM_PROCESSES": 2}
    both = [
        subprocess.Popen(
            _command(tmp_path, layouts=("data", "spatial")),
            cwd=tiny.ROOT,
            env=tiny.environment(**names, JAX_PROCESS_ID=index),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=900) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "wrote report.md" in outputs[0][0] and "wrote" not in outputs[1][0]
    assert _cell(tmp_path, "strong-data-2")["place"]["batch"] == 4
    assert not list(tmp_path.glob("cells/cpu/*spatial*"))  # an image would lie in both processes
    alone, together = (_cell(tmp_path, f"strong-data-{count}")["flops"] for count in (1, 2))
    assert 0.8 < together / alone < 1.3  # the same batch, not one from each
    assert "| data   |       2 |" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.slow
def test_a_study_that_is_ended_leaves_nothing_running(tmp_path):
    process = subprocess.Popen(_command(tmp_path), cwd=tiny.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"measuring" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    start = time.monotonic()
    process.communicate(timeout=10)  # the pipes close when the last process that has them is gone
    assert time.monotonic() - start < 5
    assert "measuring" in _run(tmp_path)
