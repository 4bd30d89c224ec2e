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
    rows = list(csv.DictReader((tmp_path / "report" / "scores.csv").open()))
    assert [row["method"] for row in rows] == ["input", "classical", "cnn-0"]
