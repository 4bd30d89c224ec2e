"""The same five steps on one device, on eight, and in two processes, under jit and pmap, give the same parameters.

The steps are the GAN's, whose generator is trained as the CNN is and whose discriminator comes on top.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from faceflax.training import parallel
from tests import tiny

GAN = ("arm='gan'", "gan.width=8", "gan.scales=2", "gan.r1=1.0", "gan.penalty_every=2", "eval.best_metric='step'")
# Adam's first steps are the gradient's sign, which is noise where a gradient is zero but for rounding.
GAN += ("optim.eps=0.01", "gan.eps=0.01")
# JPEG rounds coefficients: what differs by the last bit before may differ by a step of quantisation after.
GAN += ("tasks=('noise 50', 'occlude 25', 'blur 3')",)

BY_SHARE = ("diversity",)  # metrics that compare the images of one device's share, or of one micro-batch


def _start(output, *fields, num_devices=1, **variables):
    environment = tiny.environment(
        XLA_FLAGS=f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={num_devices}", **variables
    )
    command = [sys.executable, "-m", "tests.programs.five_steps", str(output), *GAN, *fields]
    return subprocess.Popen(command, cwd=tiny.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _finish(*processes):
    try:
        for process in processes:
            output = process.communicate(timeout=1800)[0].decode()
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()


def _assert_equal(path, reference, but=()):
    with np.load(path) as arrays, np.load(reference) as expected:
        assert sorted(arrays) == sorted(expected)
        for name in set(expected) - {f"['means']['{metric}']" for metric in but}:
            # What spectral normalisation iterates amplifies the rounding of its kernel.
            tolerance = 5e-5 if ".vectors" in name else 1e-5
            np.testing.assert_allclose(arrays[name], expected[name], rtol=1e-5, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """Returns what one device makes of the steps."""
    output = tmp_path_factory.mktemp("one") / "arrays.npz"
    _finish(_start(output))
    return output


@pytest.mark.slow
@pytest.mark.parametrize("strategy", parallel.STRATEGIES)
def test_eight_devices(strategy, one_device, tmp_path):
    output = tmp_path / "arrays.npz"
    _finish(_start(output, f"parallel.strategy='{strategy}'", num_devices=8))
    _assert_equal(output, one_device, but=BY_SHARE if strategy == "pmap" else ())


@pytest.mark.slow
def test_sharded_parameters_and_two_micro_batches(one_device, tmp_path):
    output = tmp_path / "arrays.npz"
    _finish(_start(output, "optim.accumulate=2", "parallel.mesh.data=4", "parallel.mesh.fsdp=2", num_devices=8))
    _assert_equal(output, one_device, but=BY_SHARE)


@pytest.mark.slow
def test_images_split_by_rows(one_device, tmp_path):
    output = tmp_path / "arrays.npz"
    _finish(_start(output, "parallel.mesh.data=2", "parallel.mesh.spatial=4", num_devices=8))
    _assert_equal(output, one_device)


@pytest.mark.slow
@pytest.mark.parametrize(("num_devices", "strategy"), [(1, "jit"), (2, "pmap")])
def test_two_processes(num_devices, strategy, one_device, tmp_path):
    output = tmp_path / "arrays.npz"
    names = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{tiny.free_port()}", "JAX_NUM_PROCESSES": 2}
    fields = f"parallel.strategy='{strategy}'"
    processes = [_start(output, fields, num_devices=num_devices, **names, JAX_PROCESS_ID=index) for index in (0, 1)]
    _finish(*processes)
    _assert_equal(output, one_device, but=BY_SHARE if strategy == "pmap" else ())
