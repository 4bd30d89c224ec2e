"""What CPUs compute in a way of their own, and the switch under which they, too, compute as accelerators do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import by_device, degradations
from faceflax.degradations import Task
from faceflax.training import parallel


def test_a_compiled_function_is_traced_anew_within_the_switch():
    function = jax.jit(lambda x: by_device.choose(x, cpu=lambda x: x + 1, default=lambda x: x + 2))
    assert function(0) == 1
    with by_device.as_on_accelerators():
        assert function(0) == 2
    assert function(0) == 1


def test_each_is_the_same_in_a_loop_and_at_once():
    values, scales = jnp.arange(6.0).reshape(3, 2), jnp.arange(3.0)
    one = lambda value, scale: {"scaled": value * scale}  # noqa: E731
    in_a_loop = by_device.map_each(one, values, scales)
    with by_device.as_on_accelerators():
        at_once = by_device.map_each(one, values, scales)
    np.testing.assert_array_equal(in_a_loop["scaled"], values * scales[:, None])
    np.testing.assert_array_equal(at_once["scaled"], in_a_loop["scaled"])


def _flops_of_damage(batch_size):
    groups = ((Task("lowlight", 2),), (Task("noise", 50),))
    image = jax.ShapeDtypeStruct((batch_size, 32, 32, 3), np.float32)
    index = jax.ShapeDtypeStruct((batch_size,), np.int32)
    damage = lambda params, batch: degradations.degrade(jax.random.key(0), *batch, groups)  # noqa: E731
    devices = parallel.one_device()
    return devices.costs(devices.compile_batched(damage), {}, (image, index))


def test_the_damage_of_every_image_counts():
    few, many = _flops_of_damage(2), _flops_of_damage(8)
    assert many.flops == pytest.approx(4 * few.flops, rel=0.02)  # in a loop both would count one image
    assert "conditional" not in many.program and many.accelerator_bytes > 2 * few.accelerator_bytes
