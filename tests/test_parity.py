"""The same five steps in every layout of the devices give the same parameters, and their checkpoints are one format.

Compared are networks of which every array moves: the steps begin with noise in all parameters, as a training begins
with zeros in the last layer, which keep the gradient from those before it. What float32 cannot keep equal is left out
of the networks, so that a difference of 1e-5 is one of substance. Sums are taken in another order in every layout, so
that gradients differ by up to a hundred-thousandth of their largest entry, and three things make more of that: Adam's
division where the gradient is near zero (bounded by `EPS`), ReLU's two gradients at zero, and JPEG's rounding. See
`programs/five_steps.py`, which has none of them. Adam's averages are compared as well, which tell of the gradients
before they are divided: by each array's largest entry, to 1e-4 after the first step, where all parameters are equal.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests import tiny
from tests.programs.five_steps import LAYOUTS, STEPS

ARMS = ("cnn", "gan", "inversion", "face_prior")
REFERENCE, *OTHERS = LAYOUTS
DEVICES_OF_A_PROCESS = {"one": 1, "eight": 8, "pair": 2}
TOLERANCE = 1e-5

# The first test that asks for `written` waits for all of it.
pytestmark = pytest.mark.timeout(3000)

# Metrics that compare the images of one device's share, or of one micro-batch.
BY_SHARE = ("diversity",)
IN_SHARES = ("one-pmap", "eight-pmap", "eight-both", "pair-pmap")


def _start(action, folder, arm, machine, names):
    """Starts the one or two processes of a machine."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={DEVICES_OF_A_PROCESS[machine]}"
    command = [sys.executable, "-m", "tests.programs.five_steps", action, str(folder), arm, *names]
    variables = [{}]
    if machine == "pair":
        together = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{tiny.free_port()}", "JAX_NUM_PROCESSES": 2}
        variables = [together | {"JAX_PROCESS_ID": index} for index in (0, 1)]
    return [
        subprocess.Popen(
            command,
            cwd=tiny.ROOT,
            env=tiny.environment(XLA_FLAGS=flags, **each),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for each in variables
    ]


def _finish(processes):
    try:
        for process in processes:
            output = process.communicate(timeout=2000)[0].decode()
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()


def _on_all_machines(action, folder):
    """Two arms at once, for two cores."""
    for machine in DEVICES_OF_A_PROCESS:
        names = [name for name in LAYOUTS if name.startswith(machine)]
        for pair in (ARMS[:2], ARMS[2:]):
            _finish([process for arm in pair for process in _start(action, folder / arm, arm, machine, names)])


def _load(folder, layout, name):
    with np.load(folder / layout / f"{name}.npz") as arrays:
        return dict(arrays)


def _weights(state):
    return {name: array for name, array in state.items() if "opt_state" not in name}


def _assert_agree(folder, layout):
    """After the first, the fifth and the sixth step."""
    for step, of_moments in (("1", 1e-4), ("5", 1e-3), ("6", 1e-3)):
        found, expected = (_load(folder, name, step) for name in (layout, REFERENCE))
        assert sorted(found) == sorted(expected)
        for name, array in _weights(expected).items():
            np.testing.assert_allclose(found[name], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
        for name in (name for name in expected if ".mu" in name):
            largest = np.abs(expected[name]).max()
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=of_moments * largest, err_msg=name)
    found, expected = (_load(folder, name, "means") for name in (layout, REFERENCE))
    for name in set(expected) - {f"['{name}']" for name in BY_SHARE if layout in IN_SHARES}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)


def _assert_moved(folder):
    """By a hundred times what is let pass: half of the entries of every array, and of the averaged parameters.

    The published ones of a face prior stay.
    """
    before, after = (_load(folder, REFERENCE, step) for step in ("0", "5"))
    moved = {name: np.median(np.abs(array - before[name])) for name, array in _weights(after).items()}
    assert moved.pop(".step") == STEPS
    still = {name: median for name, median in moved.items() if median < 100 * TOLERANCE}
    assert still == {name: 0 for name in moved if "['prior']" in name}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of what each layout leaves, by arm."""
    folder = tmp_path_factory.mktemp("written")
    for arm in ARMS:
        (folder / arm).mkdir()
    _on_all_machines("write", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_all_parameters_move(arm, written):
    _assert_moved(written / arm)


@pytest.mark.slow
@pytest.mark.parametrize("layout", OTHERS)
@pytest.mark.parametrize("arm", ARMS)
def test_five_steps_agree(arm, layout, written):
    _assert_agree(written / arm, layout)


@pytest.mark.slow
def test_a_checkpoint_of_each_layout_is_read_into_each_other(written):
    _on_all_machines("read", written)


def test_a_perceptron_in_three_layouts(tmp_path):
    """What of all this takes a moment: within one process, and of networks the smallest."""
    names = [REFERENCE, "eight-fsdp", "eight-pmap"]
    _finish(_start("write", tmp_path, "perceptron", "eight", names))
    _assert_moved(tmp_path)
    for layout in names[1:]:
        _assert_agree(tmp_path, layout)
