"""What the discriminator sees of images: augmented, each with its condition alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.training import diffaugment


def _uniform(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), shape)


@pytest.mark.parametrize("policies", [("color",), ("translation",), ("cutout",), diffaugment.POLICIES])
def test_augmentation_treats_an_image_and_its_condition_alike(policies):
    images, mask, index = _uniform(0, 4, 16, 16, 3), jnp.zeros((4, 16, 16, 1)), jnp.arange(4)
    key = jax.random.key(1)
    augment = jax.jit(functools.partial(diffaugment.augment, policies=policies))
    first, condition, _ = augment(key, index, images, images, mask)
    np.testing.assert_allclose(first, condition, atol=1e-6)
    assert not np.allclose(first, images)
    again, *_ = augment(key, index[2:], images[2:], images[2:], mask[2:])
    np.testing.assert_allclose(again, first[2:], atol=1e-6)  # whatever the batch
    gradient = jax.jit(jax.grad(lambda x: augment(key, index, x, images, mask)[0].sum()))(images)
    assert np.isfinite(gradient).all() and np.abs(gradient).sum() > 0


def test_augmentation_moves_pictures_and_mask_by_the_same_whole_pixels():
    mask = jnp.zeros((8, 16, 16, 1)).at[:, 6:9, 5:11].set(1.0)
    images = jnp.repeat(mask, 3, axis=-1)
    moved, _, moved_mask = diffaugment.augment(jax.random.key(0), jnp.arange(8), images, images, mask, ("translation",))
    np.testing.assert_array_equal(moved_mask.sum((1, 2, 3)), 18.0)  # near the middle nothing is moved out
    np.testing.assert_array_equal(moved[..., 0] == 1.0, moved_mask[..., 0] == 1.0)
    places = [tuple(np.argwhere(one[..., 0])[0] - (6, 5)) for one in np.asarray(moved_mask)]
    assert len(set(places)) > 3 and np.abs(places).max() <= 2


def test_cutout_and_colour_are_those_of_the_paper():
    ones, mask = jnp.ones((6, 16, 16, 3)), jnp.zeros((6, 16, 16, 1))
    cut, *_ = diffaugment.augment(jax.random.key(0), jnp.arange(6), ones, ones, mask, ("cutout",))
    assert ((np.asarray(cut == 0.5).any(-1).sum((1, 2))) <= 64).all()  # a quarter at most; less at the border
    assert set(np.unique(cut)) == {0.5, 1.0}
    grey = 0.3 * ones
    coloured, *_ = diffaugment.augment(jax.random.key(0), jnp.arange(6), grey, grey, mask, ("color",))
    assert np.ptp(np.asarray(coloured), axis=(1, 2, 3)).max() < 1e-6  # flat grey has no contrast and no saturation
    shifts = np.asarray(coloured)[:, 0, 0, 0] - 0.3
    assert np.abs(shifts).max() <= 0.25 + 1e-6
    assert np.std(shifts) > 0.02
