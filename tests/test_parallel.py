"""What the layouts of the devices promise: memory saved by splitting, and checkpoints that move between them all."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import tiny
from tests.programs.checkpoints_between import LAYOUTS


def _run(num_devices, program, *arguments):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={num_devices}"
    command = [sys.executable, "-m", f"tests.programs.{program}", *map(str, arguments)]
    finished = subprocess.run(
        command, cwd=tiny.ROOT, env=tiny.environment(XLA_FLAGS=flags), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


GAN = ("arm='gan'", "eval.best_metric='step'", "gan.width=64", "gan.scales=2")


@pytest.mark.slow
@pytest.mark.parametrize("fields", [(), GAN], ids=["cnn", "gan"])
def test_fsdp_over_eight_devices_leaves_an_eighth_of_the_state_on_each(fields):
    """As XLA counts the compiled program's arguments; the state is updated in place."""
    measured = json.loads(_run(8, "state_memory", "model.width=64", "tasks=('noise 50',)", *fields))
    data, fsdp = measured["data"], measured["fsdp"]
    assert data["state"] == data["whole"] == fsdp["whole"]
    assert data["state"] / fsdp["state"] == pytest.approx(8, rel=0.1)
    assert (data["reused"], fsdp["reused"]) == (data["state"], fsdp["state"])


@pytest.mark.slow
def test_a_checkpoint_of_each_layout_is_read_into_each_other(tmp_path):
    eight = [name for name in LAYOUTS if name != "one"]
    for action in ("write", "read"):
        _run(1, "checkpoints_between", action, tmp_path, "one")
        _run(8, "checkpoints_between", action, tmp_path, *eight)
    with np.load(tmp_path / "one-2.npz") as arrays:
        expected = dict(arrays)
    with np.load(tmp_path / "one-1.npz") as before:
        moved = max(np.abs(before[name] - expected[name]).max() for name in expected if ".params" in name)
    assert moved > 1e-4  # else agreeing to 1e-5 would mean little
    for source, target in itertools.product(LAYOUTS, LAYOUTS):
        with np.load(tmp_path / f"{source}-to-{target}.npz") as arrays:
            assert sorted(arrays) == sorted(expected)
            for name in arrays:
                np.testing.assert_allclose(arrays[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
