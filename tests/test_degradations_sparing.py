"""What CPUs leave out of the work changes no result: canvases, matrices for round blurs, spectra as products."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faceflax.degradations import blind, blur, noise


def random_image(height, width):
    return np.random.default_rng(0).uniform(size=(height, width, 3)).astype(np.float32)


def test_a_kernel_without_symmetry_is_opencvs():
    kernel = np.random.default_rng(1).uniform(size=(9, 9)).astype(np.float32)
    image = random_image(40, 54)
    theirs = cv2.filter2D(image, -1, kernel[::-1, ::-1], borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(blur.filter2d(image, kernel), theirs, atol=2e-5)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 6.0])
def test_a_round_blur_is_a_product_on_either_side(sigma):
    image = random_image(32, 32)
    matrix = np.asarray(blur.gaussian_matrix(32, 5, sigma))
    expected = blur.filter2d(image, blur.gaussian_kernel(5, sigma, sigma))
    np.testing.assert_allclose(np.einsum("ih,hwc,jw->ijc", matrix, image, matrix), expected, atol=1e-5)


def test_noise_of_the_first_rows_is_that_of_the_whole_picture():
    key = jax.random.key(0)
    np.testing.assert_array_equal(noise.standard_normal(key, (8, 32, 3)), noise.standard_normal(key, (32, 32, 3))[:8])


def test_a_canvas_never_shows(monkeypatch):
    """The least canvas that fits and the image's own give one picture, to a step of 8 bits where rounding is close."""
    image = random_image(72, 64)
    keys = jax.random.split(jax.random.key(2), 24)

    def degrade():
        return np.asarray(jax.jit(lambda k: jax.lax.map(lambda key: blind.degrade(key, image, 2), k))(keys))

    used = []
    first_that_fits = blind._first_that_fits
    monkeypatch.setattr(blind, "_first_that_fits", lambda c, small: used.append(len(c)) or first_that_fits(c, small))
    sparing = degrade()
    monkeypatch.setattr(blind, "_canvases", lambda height, width: [(height, width)])
    assert used == [3]
    difference = abs(sparing - degrade())
    assert np.mean(difference > 1e-5) < 1e-3 and difference.max() < 0.02


def test_canvases_grow_and_end_with_the_image():
    assert blind._canvases(128, 128) == [(32, 32), (64, 64), (128, 128)]
    assert blind._canvases(48, 96) == [(16, 32), (32, 48), (48, 96)]
    assert blind._canvases(16, 16) == [(16, 16)]
    for canvases in (blind._canvases(128, 128), blind._canvases(100, 75)):
        for small in range(8, 76):
            number = int(blind._first_that_fits(canvases, (jnp.asarray(small), jnp.asarray(small))))
            assert number == len(canvases) - 1 or min(canvases[number]) >= small + 2
