"""The tasks as users name them, and the contract every task keeps."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from faceflax import degradations
from faceflax.degradations import TASKS, Task, tasks
from faceflax.errors import UserError

SIZE = 48


@pytest.fixture(scope="module")
def images():
    """Six crops of a photograph, [6, 48, 48, 3] in [0, 1]."""
    corners = [(0, 180), (10, 150), (40, 200), (90, 60), (160, 240), (60, 170)]
    astronaut = data.astronaut()
    crops = [astronaut[y : y + 144 : 3, x : x + 144 : 3] for y, x in corners]
    return jnp.asarray(np.stack(crops), jnp.float32) / 255


def test_specs_name_groups():
    assert degradations.parse(["noise 50"]) == ((Task("noise", 50.0),),)
    assert [task.severity for task in degradations.parse(["sr"])[0]] == [2, 4, 8, 16]
    assert [group[0].name for group in degradations.parse(["mixed"])] == list(TASKS)
    assert [str(task) for task in degradations.flatten(["blur 1.5", "jpeg", "jpeg 10"])] == [
        "blur 1.5",
        "jpeg 50",
        "jpeg 30",
        "jpeg 10",
    ]
    assert len(degradations.flatten(["mixed"])) == sum(map(len, TASKS.values()))


@pytest.mark.parametrize(("specs", "hint"), [(["fog"], "lowlight"), (["noise 20"], "15, 25, 50"), ([], "mixed")])
def test_a_wrong_spec_is_one_sentence_that_lists_what_exists(specs, hint):
    with pytest.raises(UserError, match=hint):
        degradations.parse(specs)


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_keeps_the_contract(images, name):
    """Ranges and shapes; a traced severity equals a constant one; an image does not depend on its neighbours."""
    index = jnp.arange(len(images))
    key = jax.random.key(7)
    function = tasks.FUNCTIONS[name]
    batched = jax.jit(jax.vmap(lambda key, image, s: function(key, image, s), in_axes=(0, 0, None)))
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    errors = []
    for severity in TASKS[name]:
        degraded, mask = batched(keys, images, float(severity))
        assert degraded.shape == images.shape and mask.shape == (*images.shape[:3], 1)
        assert degraded.dtype == mask.dtype == jnp.float32
        assert float(degraded.min()) >= 0.0 and float(degraded.max()) <= 1.0
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert (mask.max() > 0) == (name in ("occlude", "facemask"))
        error = jnp.mean(jnp.square(degraded - images))
        assert error > 1e-5
        if name in ("occlude", "facemask"):
            np.testing.assert_array_equal(*(np.where(mask == 0, image, 0) for image in (degraded, images)))
        errors.append(float(error))
    assert errors == sorted(errors), "a higher severity must be harder"

    task = Task(name, TASKS[name][-1])
    evaluate = jax.jit(degradations.degrade_for_evaluation, static_argnums=2)
    whole = evaluate(images, index, task)
    turned = evaluate(images[::-1], index[::-1], task)
    for ours, theirs in zip(whole, turned, strict=True):
        np.testing.assert_allclose(ours, theirs[::-1], atol=1e-5)


def test_eager_is_jit(images):
    groups = degradations.parse(["noise 25", "facemask"])
    eager = degradations.degrade(jax.random.key(0), images[:2], jnp.arange(2), groups)
    jitted = jax.jit(lambda x: degradations.degrade(jax.random.key(0), x, jnp.arange(2), groups))(images[:2])
    for ours, theirs in zip(eager, jitted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_evaluation_draws_differ_by_index_and_task_only(images):
    same = jnp.broadcast_to(images[:1], images.shape)
    index = jnp.arange(len(images)) + 100
    noise, again, holes = (
        degradations.degrade_for_evaluation(same, index, Task(*task))[0]
        for task in (("noise", 50), ("noise", 50.0), ("noise", 25))
    )
    np.testing.assert_array_equal(noise, again)
    assert np.unique(np.asarray(noise).reshape(len(noise), -1)[:, :8], axis=0).shape[0] == len(noise)
    assert not np.allclose(np.sign(noise - same), np.sign(holes - same))


def test_a_mixture_draws_every_group_evenly_and_every_severity_of_it():
    """Flat grey tells the groups apart: holes by their mask, noise by its deviation."""
    grey = jnp.full((600, 8, 8, 3), 0.5)
    groups = degradations.parse(["noise", "occlude 25", "noise 50"])
    degraded, mask = jax.jit(lambda x: degradations.degrade(jax.random.key(1), x, jnp.arange(600), groups))(grey)
    holes = np.asarray(mask).max(axis=(1, 2, 3)) > 0
    assert 150 < holes.sum() < 250
    deviation = 255 * np.asarray(degraded)[~holes].std(axis=(1, 2, 3))
    counts = [np.sum(np.abs(deviation - sigma) < 5) for sigma in (15, 25)]
    assert all(40 < count < 95 for count in counts)
    assert 210 < np.sum(deviation > 38) < 325


@pytest.mark.parametrize("name", TASKS)
def test_in_training_an_image_without_colour_is_damaged_without(images, name):
    both = jnp.concatenate([images[:1], images[:1, ..., :1].repeat(3, -1)])
    groups = degradations.parse((f"{name} {TASKS[name][-1]:g}",))
    degraded, mask = degradations.degrade(jax.random.key(0), both, jnp.zeros(2, jnp.int32), groups)
    assert (degraded[1] == degraded[1, ..., :1]).all()
    assert not (degraded[0] == degraded[0, ..., :1]).all()
    np.testing.assert_array_equal(mask[0], mask[1])


def test_a_loop_and_vmap_agree(images):
    """CPUs loop over the images and accelerators map; vmap turns the loop of one image into the latter."""
    groups = degradations.parse(["noise", "occlude 25", "jpeg"])
    index = jnp.arange(len(images))

    def step(image, index):
        return degradations.degrade(jax.random.key(11), image, index, groups)

    loop = jax.jit(step)(images, index)
    mapped = jax.jit(jax.vmap(step))(images[:, None], index[:, None])
    for ours, theirs in zip(loop, mapped, strict=True):
        np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-5)


@pytest.mark.slow
def test_a_batch_over_eight_devices_is_the_batch_on_one():
    """Sharded by the compiler, and each device's share on its own under shard_map."""
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
        from faceflax import degradations
        groups = degradations.parse(["noise", "blur", "jpeg", "facemask"])
        image = jax.random.uniform(jax.random.key(0), (16, 32, 32, 3))
        index = jnp.arange(16)
        step = lambda image, index: degradations.degrade(jax.random.key(1), image, index, groups)
        expected = jax.jit(step)(image, index)
        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        shares = [jax.device_put(x, NamedSharding(mesh, P("data"))) for x in (image, index)]
        local = jax.shard_map(step, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False)
        for run in (step, local):
            for ours, theirs in zip(jax.jit(run)(*shares), expected):
                np.testing.assert_allclose(ours, theirs, atol=1e-5)
        print("same on", jax.device_count())
    """
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "same on 8", done.stderr[-2000:]
