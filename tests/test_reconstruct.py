"""From feature vectors to faces."""

import jax
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.models import face_encoder
from faceflax.models.face_prior import mapper
from faceflax.restoration.reconstruct import Reconstructor, between
from faceflax.training import parallel
from tests import random_networks


@pytest.fixture
def version(monkeypatch):
    random_networks.install(monkeypatch)
    return face_encoder.create("faceres").version


def unit(rng, *shape):
    vectors = np.abs(rng.normal(size=shape)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_face_depends_on_its_vector_alone(version):
    vectors = unit(np.random.default_rng(0), 2, 1024)
    make = Reconstructor(version, 64, parallel.one_device())
    both = make(vectors)
    assert both.shape == (2, 64, 64, 3)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(make(vectors[1:]), both[1:])
    assert np.abs(both[0].astype(int) - both[1]).mean() > 1


def test_vectors_of_another_encoder_are_refused(version):
    with pytest.raises(UserError, match="of version 0123abcd, and faces can be made from vectors of version"):
        Reconstructor("0123abcd", 64, parallel.one_device())
    with pytest.raises(UserError, match="not 100"):
        Reconstructor(version, 100, parallel.one_device())


def test_the_fitted_map_gives_styles_around_the_mean():
    params, version = mapper.load()
    assert version == face_encoder.create("faceres").version
    assert mapper.FILE.stat().st_size < 4e6
    styles = jax.jit(mapper.map_vectors)(params, unit(np.random.default_rng(0), 3, 1024))
    assert styles.shape == (3, 512)
    assert np.isfinite(styles).all()


def test_the_way_between_two_people_has_equal_steps():
    first, last = unit(np.random.default_rng(1), 2, 16)
    way = between(first, last, 5)
    np.testing.assert_allclose(way[[0, -1]], [first, last], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1, atol=1e-6)
    steps = np.sum(way[1:] * way[:-1], axis=1)
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    np.testing.assert_array_equal(between(first, first, 3), [first] * 3)
