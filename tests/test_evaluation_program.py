"""`python -m experiments.evaluate` as a user runs it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from faceflax import config as config_lib
from tests import untrained

ROOT = Path(__file__).parent.parent
FLAGS = (
    "--config=configs/smoke.py",
    "--config.data.image_size=32",
    "--config.eval.max_images=6",
    "--config.eval.batch_size=4",
)


def evaluate(*arguments):
    command = [sys.executable, "-m", "experiments.evaluate", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_writes_the_same_report_twice(tmp_path):
    workdir = untrained.make_workdir(tmp_path, 32)
    config = config_lib.from_json((workdir / "config.json").read_text(encoding="utf-8"))
    first = evaluate(f"--workdir={workdir}", *FLAGS)
    assert first.returncode == 0, first.stderr
    assert "noise 50" in first.stdout and "occlude 25, hole" in first.stdout and str(workdir / "report") in first.stdout
    assert first.stderr == ""
    table = (workdir / "report" / "table.csv").read_bytes()
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert [row["task"] for row in rows] == ["noise", "occlude"]
    for row in rows:
        assert row["images"] == "6"
        assert float(row["psnr_baseline"]) > float(row["psnr_input"])
    # The network returns its input, with holes filled smoothly.
    assert float(rows[0]["psnr_gain_over_input"]) == pytest.approx(0, abs=1e-4)
    assert float(rows[1]["psnr_gain_over_input"]) > 1
    manifest = json.loads((workdir / "report" / "manifest.json").read_text())
    assert manifest["step"] == 1 and manifest["dataset"]["split"] == "test" and "made" in manifest
    assert manifest["trained"]["commit"] == "c0ffee" != manifest["commit"]
    assert manifest["trained"]["config"] == config_lib.fingerprint(config) != manifest["config"]
    assert evaluate(f"--workdir={workdir}", *FLAGS).returncode == 0
    assert (workdir / "report" / "table.csv").read_bytes() == table


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    found = evaluate(f"--workdir={tmp_path}")
    assert found.returncode == 1
    assert "not a workdir of a trained model" in found.stderr and found.stderr.count("\n") == 1


def test_another_size_than_that_of_the_training_is_refused(tmp_path):
    found = evaluate(f"--workdir={untrained.make_workdir(tmp_path, 32)}", "--config=configs/smoke.py")
    assert found.returncode == 1
    assert "trained at 32 pixels" in found.stderr and "--config.data.image_size=32" in found.stderr
    assert found.stderr.count("\n") == 1
