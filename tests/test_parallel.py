"""The mesh, where arrays lie on it, and the memory that splitting saves."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.training import layout, parallel
from faceflax.training.parallel import mesh as meshes
from faceflax.training.parallel import placement, programs
from tests import tiny


@pytest.mark.parametrize(
    ("mesh", "sizes"),
    [
        ({"data": -1, "fsdp": 1}, (8, 1, 1)),  # as trainings of earlier versions have it
        ({"data": -1, "fsdp": 2, "spatial": 2}, (2, 2, 2)),
        ({"data": 1, "fsdp": 1, "spatial": -1}, (1, 1, 8)),
    ],
)
def test_the_mesh_takes_all_devices(mesh, sizes):
    assert tuple(layout.sizes(mesh, "jit", 8).values()) == sizes


@pytest.mark.parametrize(
    ("mesh", "strategy", "message"),
    [
        ({"data": -1, "fsdp": 1, "spatial": 3}, "jit", "does not cover the 8 device"),
        ({"data": -1, "fsdp": -1, "spatial": 1}, "jit", "does not cover the 8 device"),
        ({"data": -1, "fsdp": 1, "spatial": 2}, "pmap", "fsdp and spatial to 1"),
        ({"data": 4, "fsdp": 2, "spatial": 1}, "pmap", "fsdp and spatial to 1"),
    ],
)
def test_a_mesh_that_cannot_be_made_is_refused(mesh, strategy, message):
    with pytest.raises(UserError, match=message):
        layout.sizes(mesh, strategy, 8)


def test_images_that_do_not_divide_into_rows_are_refused():
    devices = parallel.Parallel(SimpleNamespace(shape={"data": 2, "fsdp": 1, "spatial": 4}, size=8))
    devices.check_batch(6, 3, 32)
    with pytest.raises(UserError, match="batch_size 6 does not divide over 2 device"):
        devices.check_batch(6, 2, 32)
    with pytest.raises(UserError, match="image_size 30 does not divide over 4 devices"):
        devices.check_batch(6, 3, 30)


@pytest.mark.parametrize("hosts", [(0, 0), (0, 1)])
def test_an_image_is_not_split_over_hosts(hosts, monkeypatch):
    devices = np.array([[[SimpleNamespace(process_index=host) for host in hosts]]])
    mesh = SimpleNamespace(devices=devices, shape={"data": 1, "fsdp": 1, "spatial": 2})
    monkeypatch.setattr(meshes.jax, "devices", lambda: devices.ravel())
    monkeypatch.setattr(meshes.jax, "make_mesh", lambda *_, **__: mesh)
    if hosts == (0, 0):
        assert parallel.create(mesh.shape).mesh is mesh
    else:
        with pytest.raises(UserError, match="over several processes"):
            parallel.create(mesh.shape)


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "split"),
    [
        ("kernel", (3, 3, 64, 128), (2, 4, 1), (None, None, None, "fsdp")),
        ("kernel", (3, 3, 128, 64), (2, 4, 1), (None, None, "fsdp")),
        ("kernel", (1000, 129), (1, 8, 1), ("fsdp",)),  # 1000 is larger, and 8 divides it
        ("kernel", (1023, 128), (1, 8, 1), (None, "fsdp")),  # 8 does not divide 1023
        ("kernel", (1023, 129), (1, 8, 1), ()),
        ("kernel", (3, 3, 32, 32), (1, 8, 1), ()),  # small
        ("kernel", (3, 3, 64, 128), (8, 1, 1), ()),
        ("kernel", (3, 3, 64, 128), (2, 1, 4), ()),
        ("bias", (), (1, 8, 1), ()),
        (parallel.CLASSES, (16, 4), (2, 4, 1), (layout.SHARES,)),
        (parallel.CLASSES, (20, 4), (2, 4, 1), ()),
    ],
)
def test_where_an_array_of_the_state_lies(name, shape, sizes, split):
    path = (jax.tree_util.GetAttrKey("params"), jax.tree_util.DictKey(name))
    assert tuple(placement.of_state(path, shape, dict(zip(layout.AXES, sizes, strict=True)))) == split


def test_options_that_the_compiler_does_not_know_are_left_out():
    known = {"xla_backend_optimization_level": "0"}
    assert programs._if_known(known) == known
    assert programs._if_known(known | {"xla_of_another_version": "1"}) is None


@pytest.mark.parametrize("strategy", parallel.STRATEGIES)
def test_a_step_is_compiled_once(strategy):
    """Neither what it gives itself, nor what comes from a checkpoint, lies otherwise than the state it began with."""
    traced = []

    def step(state, batch, networks):
        traced.append(state)
        return state + networks, {"sum": (batch["image"].sum(), 1)}

    devices = parallel.create({"data": -1}, strategy)
    init = lambda: jnp.zeros(3)  # noqa: E731
    program = devices.compile_step(step, devices.abstract_state(init), np.float32(1))
    batch = devices.shard_batch({"image": np.ones((devices.num_devices, 2), np.float32)})
    state, restored = devices.create_state(init), jax.device_put(np.ones(3), devices.abstract_state(init).sharding)
    for _ in range(2):
        state, _ = program(state, batch)
    state, sums = program(devices.adopt_state(restored), batch)
    assert len(traced) == 1
    assert state.tolist() == [2, 2, 2] and sums["sum"][0] == batch["image"].size


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
@pytest.mark.parametrize(("block", "batch_size"), [("residual", 1), ("nafnet", 2)])
def test_images_split_by_rows_train_as_on_one_device_in_less_memory(block, batch_size):
    fields = (f"model.block='{block}'", f"data.batch_size={batch_size}", "tasks=('noise 50',)", "optim.eps=0.01")
    measured = json.loads(_run(8, "rows_of_images", 1, 8, "data.image_size=256", *fields))
    assert measured["excess"] < 1e-5
    assert measured["whole"] == [] != measured["whole_on_one"]
    assert measured["on_each"] < measured["on_one"] / 3  # not 8: each makes the damage of the whole image
