"""What every face encoder promises."""

import jax
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.models import face_encoder
from faceflax.recognition import calibration
from tests import random_networks


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    random_networks.install(monkeypatch)


@pytest.mark.parametrize("name", face_encoder.NAMES)
def test_an_encoder_gives_unit_vectors_of_its_size(name):
    encoder, params = face_encoder.load(name)
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    vectors = jax.jit(encoder.embed)(params, images)
    assert vectors.shape == (2, encoder.size)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)


def test_versions_tell_encoders_apart():
    versions = {face_encoder.create(name).version for name in face_encoder.NAMES}
    assert len(versions) == len(face_encoder.NAMES)
    assert all(len(version) == 8 for version in versions)


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(UserError, match="no face encoder 'facenet'; choose one of faceres"):
        face_encoder.create("facenet")


@pytest.mark.parametrize("name", face_encoder.NAMES)
def test_a_threshold_comes_with_every_encoder(name):
    encoder = face_encoder.create(name)
    found = calibration.load(None, encoder)
    assert found.version == encoder.version and 0 < found.false_accept_rate < 0.011
