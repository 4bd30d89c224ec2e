import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faceflax import metrics
from faceflax.errors import UserError


@pytest.fixture(scope="module")
def pair():
    """Three crops of a photograph [3, 48, 56, 3] in [0, 1], and the same with noise."""
    astronaut = data.astronaut().astype(np.float32) / 255
    clean = np.stack([astronaut[y : y + 48, x : x + 56] for y, x in ((60, 190), (0, 0), (300, 100))])
    noise = np.random.default_rng(0).normal(0, 0.08, clean.shape).astype(np.float32)
    return clean, np.clip(clean + noise, 0, 1)


def test_psnr_is_scikit_images(pair):
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(*pair, strict=True)]
    np.testing.assert_allclose(metrics.psnr(*pair), expected, atol=1e-3)
    np.testing.assert_allclose(metrics.psnr(*pair), dm_pix.psnr(*map(jnp.asarray, pair)), atol=1e-4)


def test_ssim_is_scikit_images_and_dm_pixs(pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = [structural_similarity(a, b, channel_axis=-1, **options) for a, b in zip(*pair, strict=True)]
    np.testing.assert_allclose(metrics.ssim(*pair), expected, atol=1e-4)
    np.testing.assert_allclose(metrics.ssim(*pair), dm_pix.ssim(*map(jnp.asarray, pair)), atol=1e-5)
    a, b = (jnp.asarray(images[:1, :32, :32]) for images in pair)
    ours = jax.jit(jax.grad(lambda b: metrics.ssim(a, b).sum()))(b)
    theirs = jax.jit(jax.grad(lambda b: dm_pix.ssim(a, b).sum()))(b)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_equal_images_are_finite_and_so_are_their_gradients(pair):
    same = jnp.asarray(pair[0])
    for metric, best in ((metrics.psnr, 100.0), (metrics.ssim, 1.0)):
        value, gradient = jax.value_and_grad(lambda b, metric=metric: metric(same, b).mean())(same)
        assert float(value) == pytest.approx(best, abs=1e-4)
        assert np.isfinite(gradient).all()


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match="at least 11 pixels"):
        metrics.ssim(jnp.zeros((1, 10, 64, 3)), jnp.zeros((1, 10, 64, 3)))


def test_masked_psnr_sees_the_masked_pixels_alone(pair):
    clean, noisy = pair
    mask = np.zeros((3, 48, 56, 1), np.float32)
    mask[0, 10:20, 5:30] = 1
    mask[1] = 1
    expected = peak_signal_noise_ratio(clean[0, 10:20, 5:30], noisy[0, 10:20, 5:30], data_range=1)
    values = metrics.masked_psnr(clean, noisy, mask)
    assert float(values[0]) == pytest.approx(expected, abs=1e-3)
    assert float(values[1]) == pytest.approx(float(metrics.psnr(*pair)[1]), abs=1e-4)
    np.testing.assert_array_equal(metrics.has_pixels(mask), [1, 1, 0])
    assert np.isfinite(values).all()


def test_sums_over_uneven_batches_are_the_mean_over_all_images():
    values = np.random.default_rng(1).normal(size=10).astype(np.float32)
    first = {"psnr": metrics.weighted(values[:7], np.ones(7, np.float32))}
    padded = np.append(values[7:], [np.nan, 5.0]).astype(np.float32)
    second = {"psnr": metrics.weighted(padded, np.array([1, 1, 1, 0, 0], np.float32))}
    second["hole"] = metrics.weighted(values, np.zeros(10, np.float32))
    mean = metrics.compute(metrics.merge(first, second))
    assert mean["psnr"] == pytest.approx(values.mean(), rel=1e-5)
    assert np.isnan(mean["hole"])
    assert metrics.compute(metrics.merge(second, first))["psnr"] == pytest.approx(mean["psnr"])
