"""Between two networks lie the sums of their weights; the ends are the networks themselves."""

import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.models.interpolation import interpolate

CNN = {"a": {"kernel": np.array([0.1, 2.0], np.float32)}, "b": np.float32(4)}
GAN = {"a": {"kernel": np.array([0.3, -2.0], np.float32)}, "b": np.float32(0)}


def test_the_ends_are_exact_and_the_middle_is_the_mean():
    assert interpolate(CNN, GAN, 1.0) is CNN and interpolate(CNN, GAN, 0.0) is GAN
    middle = interpolate(CNN, GAN, 0.5)
    np.testing.assert_allclose(middle["a"]["kernel"], [0.2, 0.0], rtol=1e-6)
    assert interpolate(CNN, GAN, 0.25)["b"] == 1.0
    assert middle["a"]["kernel"].dtype == np.float32


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(UserError, match="between 0 and 1"):
        interpolate(CNN, GAN, 1.5)
    with pytest.raises(UserError, match="one config.model"):
        interpolate(CNN, {"a": {"kernel": np.zeros(3)}, "b": 0.0}, 0.5)
    with pytest.raises(UserError, match="one config.model"):
        interpolate(CNN, {"a": GAN["a"]}, 0.5)
