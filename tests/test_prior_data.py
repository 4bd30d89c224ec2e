"""Training faces that the steps make: the same on any devices, the same when a run is taken up again."""

import contextlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.models.face_prior import sampling
from faceflax.training import arms, cluster, loop, prior_data
from tests import random_networks, tiny

SMALL = {
    "data__source": "prior",
    "data__image_size": 64,
    "data__batch_size": 4,
    "train__log_every": "1steps",
    "train__eval_every": "100steps",
    "train__checkpoint_every": "2steps",
    "optim__warmup": "1steps",
    "tasks": ("noise 50",),
    "model__width": 8,
    "model__encoder_blocks": (1,),
    "model__decoder_blocks": (1,),
}


def faces(output, num_devices=1, **variables):
    flags = f"--xla_force_host_platform_device_count={num_devices} --xla_backend_optimization_level=0"
    command = [sys.executable, "-m", "tests.programs.prior_faces", str(output)]
    return subprocess.Popen(
        command, cwd=tiny.ROOT, env=tiny.environment(XLA_FLAGS=flags, **variables), stderr=subprocess.PIPE
    )


def finish(*processes):
    for process in processes:
        output = process.communicate(timeout=240)[1].decode()
        assert process.returncode == 0, output


@pytest.mark.slow
def test_faces_do_not_depend_on_devices_and_processes(tmp_path):
    address = f"127.0.0.1:{tiny.free_port()}"
    joined = [
        faces(tmp_path / "two.npz", JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES=2, JAX_PROCESS_ID=index)
        for index in (0, 1)
    ]
    finish(*joined, faces(tmp_path / "one.npz"), faces(tmp_path / "eight.npz", num_devices=8))
    with np.load(tmp_path / "one.npz") as one:
        for other in ("two.npz", "eight.npz"):
            with np.load(tmp_path / other) as many:
                np.testing.assert_array_equal(many["first"], one["first"])
                np.testing.assert_array_equal(many["second"], one["second"])
        everyone = np.concatenate([one["first"], one["second"]])
    assert everyone.shape == (16, 64, 64, 3)
    assert everyone.dtype == np.uint8
    assert len({face.tobytes() for face in everyone}) == 16
    assert everyone.std(axis=(1, 2, 3)).min() > 5


def train(workdir, monkeypatch, duration):
    random_networks.install(monkeypatch)
    config = tiny.config(**SMALL, train__duration=duration)
    stopped = loop.train(
        config, workdir, None, lambda arm: lambda params: ({"psnr": 1.0}, np.zeros((8, 8, 3), np.uint8))
    )
    assert stopped == 0
    return config


@pytest.mark.slow
def test_a_run_taken_up_again_sees_the_faces_it_would_have_seen(tmp_path, monkeypatch):
    """The second run is stopped after two of four steps; its schedule is that of the first."""
    train(tmp_path / "whole", monkeypatch, "4steps")
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "preemption", lambda: _stop_after(2))
        random_networks.install(patch)
        config = tiny.config(**SMALL, train__duration="4steps")
        assert loop.train(config, tmp_path / "parts", None, lambda arm: None) == 15
    train(tmp_path / "parts", monkeypatch, "4steps")
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    losses = [[part for line in each for part in line.split(", ") if '"train/loss"' in part] for each in lines]
    assert len(losses[0]) == 4
    assert losses[0] == losses[1]


def _stop_after(count):
    return contextlib.nullcontext(lambda step: 15 * (step == count))


def test_half_of_the_faces_are_mirrored(monkeypatch):
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None], (64, 64, 3))
    monkeypatch.setattr(sampling, "draw_styles", lambda params, key, index: np.zeros((len(index), 512)))
    monkeypatch.setattr(sampling, "make_faces", lambda params, styles, size: np.stack([ramp] * len(styles)))
    index = np.arange(200, dtype=np.int32)
    for flip, least, most in ((True, 70, 130), (False, 0, 0)):
        made, _ = prior_data._draw(None, jax.random.key(0), index, tiny.config(**SMALL, data__flip=flip))
        mirrored = np.asarray(made)[:, 0, 0, 0] == 63
        assert least <= mirrored.sum() <= most


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data__image_size": 96}, "choose one of 64, 128, 256, 512, 1024"),
        ({"data__crop": 0.8}, "crop is 0.8.*must be 1"),
        ({"data__grey": 0.1}, "grey is 0.1.*must be 0"),
    ],
)
def test_what_the_prior_cannot_make_is_refused(fields, message):
    config = tiny.config(**SMALL | fields)
    with pytest.raises(UserError, match=message):
        arms.create(config, lambda step: 1e-3)


def test_the_source_is_one_of_two():
    with pytest.raises(UserError, match='data.source is "disk"; choose one of dataset, prior'):
        config_lib.validate(tiny.config(data__source="disk"))


def test_faces_without_end_have_no_epochs():
    with pytest.raises(UserError, match='"2epochs" has no length'):
        loop.Plan.create(tiny.config(**SMALL, train__duration="2epochs"), None)


def test_batches_divide_among_processes():
    with pytest.raises(UserError, match="3 processes"):
        prior_data.index_stream(8, 0, 3)
    shares = [next(prior_data.index_stream(8, index, 2))["index"] for index in (0, 1)]
    assert sorted(np.concatenate(shares)) == list(range(8))
