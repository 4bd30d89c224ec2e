"""Masks worn on the face: what tables were made with stays as it is, and the looks that one may choose."""

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.degradations import Task, degrade_for_evaluation, facemask

SIZE = 64


def test_the_task_draws_what_it_drew_in_earlier_tables():
    """Figures of the version that the first tables were made with."""
    image = jnp.full((2, 32, 32, 3), 0.5)
    degraded, mask = jax.jit(degrade_for_evaluation, static_argnums=2)(image, jnp.array([2, 7]), Task("facemask", 2.0))
    assert mask.sum((1, 2, 3)).tolist() == [230, 244]
    means = [(0.48368, 0.52137, 0.51519), (0.46544, 0.50807, 0.51589)]
    cloth = [(0.60672, 0.84421, 0.82630), (0.51018, 0.76156, 0.82337)]
    glasses = [(0.13772, 0.17455, 0.11179), (0.09882, 0.13552, 0.09673)]
    np.testing.assert_allclose(degraded.mean((1, 2)), means, atol=2e-5)
    np.testing.assert_allclose(degraded[:, 24, 16], cloth, atol=2e-5)
    np.testing.assert_allclose(degraded[:, 14, 20], glasses, atol=2e-5)


def _mean_colour(layer):
    return np.asarray(layer.colour)[np.asarray(layer.covers)].mean(axis=0)


def test_a_cloth_has_its_colour_and_nothing_else_changes():
    key = jax.random.key(3)
    layers = {name: facemask.surgical_mask(key, SIZE, SIZE, number) for number, name in enumerate(facemask.CLOTHS)}
    colours = {name: _mean_colour(layer) for name, layer in layers.items()}
    for name, colour in colours.items():
        nearest = min(facemask.CLOTHS, key=lambda other: np.abs(colour - 0.87 * np.array(facemask.CLOTHS[other])).sum())
        assert nearest == name
    for layer in layers.values():
        np.testing.assert_array_equal(layer.covers, layers["blue"].covers)


def test_textures_differ_in_pattern_and_not_in_shape():
    key = jax.random.key(4)
    layers = {name: facemask.surgical_mask(key, SIZE, SIZE, 2, name) for name in facemask.TEXTURES}
    inside = np.s_[44:54, 24:40]  # cloth without seam
    change = {
        name: np.abs(np.diff(np.asarray(layer.colour)[inside].mean(axis=2), axis=1)) for name, layer in layers.items()
    }
    assert all(float(layer.colour.min()) >= 0 and float(layer.colour.max()) <= 1 for layer in layers.values())
    assert all((layer.covers == layers["plain"].covers).all() for layer in layers.values())
    assert change["plain"].max() < 0.06  # grain alone
    assert all(change[name].max() > 0.1 for name in ("stripes", "dots"))
    assert change["weave"].mean() > 1.5 * change["plain"].mean()
    rows = {name: np.asarray(layer.colour)[43:57, 32].mean(axis=1) for name, layer in layers.items()}
    assert np.ptp(rows["pleats"] - rows["plain"]) > 0.02
