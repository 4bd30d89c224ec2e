"""`python -m experiments.benchmark` as a user runs it."""

import csv
import json
import subprocess
import sys

import pytest

from tests import tiny


@pytest.mark.slow
def test_trains_measures_and_reports(tmp_path):
    command = [sys.executable, "-m", "experiments.benchmark", "--config=tests/programs/tiny_benchmark.py"]
    found = subprocess.run(
        [*command, f"--workdir={tmp_path}"], cwd=tiny.ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr + found.stdout
    assert "cnn-0  training 0.14M parameters" in found.stdout and "wrote scores.csv" in found.stdout
    manifest = json.loads((tmp_path / "report" / "manifest.json").read_text())
    assert manifest["runs"]["cnn-0"]["step"] == 2
    (costs,) = csv.DictReader((tmp_path / "report" / "efficiency.csv").open())
    flops = {name: float(costs[f"{name}_flops"]) for name in ("train", "restore")}
    assert 2.5 < flops["train"] / flops["restore"] < 4  # forward and back
    parameters = int(costs["parameters"])
    assert round(parameters / 1e6, 2) == 0.14
    assert float(costs["train_bytes"]) > 4 * 4 * parameters  # weights, their average, two moments
    assert float(costs["train_seconds"]) > 0 and float(costs["restore_seconds"]) > 0
    rows = list(csv.DictReader((tmp_path / "report" / "scores.csv").open()))
    assert [row["method"] for row in rows] == ["input", "classical", "cnn-0"]
