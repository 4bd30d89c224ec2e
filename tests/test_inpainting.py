import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax import metrics
from faceflax.datasets import registry, stream
from faceflax.degradations import Task, degrade_for_evaluation
from faceflax.models.inpainting import fill_holes


@pytest.fixture(scope="module")
def occluded():
    source = registry.load("mini_faces", "validation")
    image = next(stream.eval_stream(source, image_size=128, batch_size=16))["image"].astype(np.float32) / 255
    degraded, mask = jax.jit(degrade_for_evaluation, static_argnums=2)(image, np.arange(16), Task("occlude", 25))
    return image, np.asarray(degraded), np.asarray(mask)


def test_known_pixels_stay_and_hidden_ones_do_not_matter(occluded):
    image, degraded, mask = occluded
    fill = jax.jit(fill_holes)
    filled = np.asarray(fill(degraded, mask))
    np.testing.assert_array_equal(filled[(mask == 0)[..., 0]], degraded[(mask == 0)[..., 0]])
    np.testing.assert_array_equal(filled, fill(image, mask))
    np.testing.assert_array_equal(fill(image, jnp.zeros_like(mask)), image)


@pytest.mark.parametrize("severity", [10, 25, 50])
def test_holes_come_closer_than_by_teleas_method(severity):
    source = registry.load("mini_faces", "test")
    image = next(stream.eval_stream(source, image_size=128, batch_size=60))["image"].astype(np.float32) / 255
    degrade = jax.jit(degrade_for_evaluation, static_argnums=2)
    degraded, mask = map(np.asarray, degrade(image, np.arange(60), Task("occlude", severity)))
    as_bytes = np.round(degraded * 255).astype(np.uint8)
    holes = mask[..., 0].astype(np.uint8)
    telea = np.stack([cv2.inpaint(d, hole, 8, cv2.INPAINT_TELEA) for d, hole in zip(as_bytes, holes, strict=True)])
    ours, theirs = (
        metrics.masked_psnr(filled, image, mask).mean()
        for filled in (jax.jit(fill_holes)(degraded, mask), telea.astype(np.float32) / 255)
    )
    assert ours > theirs


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (6, 10), (48, 32)])
def test_a_plain_colour_is_continued_at_any_size(shape):
    images = jnp.broadcast_to(jnp.array([0.2, 0.5, 0.9]), (2, *shape, 3))
    mask = jnp.asarray(np.random.default_rng(0).random((2, *shape, 1)) < 0.7, jnp.float32).at[:, 0, 0].set(0)
    np.testing.assert_allclose(fill_holes(jnp.where(mask > 0, 0.0, images), mask), images, atol=1e-6)


def test_nothing_known_gives_zeros():
    assert not fill_holes(jnp.ones((1, 8, 8, 3)), jnp.ones((1, 8, 8, 1))).any()
