"""Deblurring: the blur is found, undone as well as least squares can, whatever lies beyond the border."""

import contextlib
import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage import restoration
from skimage.metrics import peak_signal_noise_ratio

from faceflax import by_device, deblurring, models
from faceflax import config as config_lib
from faceflax.deblurring import fourier
from faceflax.errors import UserError
from faceflax.evaluation.comparison.damage import line_kernel

SIDE = 128
MOTION, BLUR = deblurring.KINDS["motion"], deblurring.KINDS["blur"]
MIRRORED, REPEATED = cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE


def _picture(seed, side=SIDE):
    """Noise with the spectrum of a face, a little over [0, 1], float32 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side / 128
    spectrum = np.fft.rfft2(rng.normal(size=(3, side, side))) * np.maximum(frequency, 1 / 64) ** -1.6
    planes = np.fft.irfft2(spectrum, s=(side, side))
    planes = planes[:1] + 0.3 * planes[1:2] * np.array([1, 0, -1])[:, None, None]
    return (0.5 + 0.2 * planes / planes.std()).clip(0, 1).transpose(1, 2, 0).astype(np.float32)


def _moved(picture, length, angle, border=REPEATED):
    blurred = cv2.filter2D(picture, -1, line_kernel(length, angle), borderType=border)
    return (np.round(255 * blurred) / 255).astype(np.float32)


def _unsharp(picture, sigma, seed=0):
    blurred = ndimage.gaussian_filter(picture, sigma, axes=(0, 1), mode="nearest")
    noisy = blurred + np.random.default_rng(seed).normal(0, 2 / 255, picture.shape)
    return (np.round(255 * noisy.clip(0, 1)) / 255).astype(np.float32)


@pytest.fixture(scope="module")
def estimate():
    return {name: jax.jit(functools.partial(deblurring.estimate, deblurring.KINDS[name])) for name in deblurring.KINDS}


def _between(first, second):
    """The angle between two directions, in degrees."""
    return abs(np.rad2deg((first - second + np.pi / 2) % np.pi - np.pi / 2))


@pytest.mark.parametrize("length", [9, 15, 25])
@pytest.mark.parametrize("degrees", [0, 31, 90, 152])
def test_a_motion_is_told(estimate, length, degrees):
    found = estimate["motion"](_moved(_picture(length + degrees), length, np.deg2rad(degrees)))
    assert found[0] == pytest.approx(length, rel=0.07)
    assert _between(found[1], np.deg2rad(degrees)) < 3


@pytest.mark.parametrize("sigma", [2, 3, 5])
def test_a_round_blur_is_told(estimate, sigma):
    sizes = [estimate["blur"](_unsharp(_picture(seed), sigma, seed))[0] for seed in range(5)]
    assert np.median(sizes) == pytest.approx(sigma, rel=0.12)


def test_the_direction_of_a_long_blur_is_told(estimate):
    found = estimate["blur"](_unsharp(_picture(3), (1.5, 4)))
    assert _between(found[1], 0) < 12 and found[0] == pytest.approx(4, rel=0.15) and found[2] < 0.5


def test_blurs_grow_with_the_image(estimate):
    picture = _picture(5, 192)
    found = jax.jit(lambda image: deblurring.estimate(MOTION, image))(_moved(picture, 22.5, 0.5))
    assert found[0] == pytest.approx(22.5, rel=0.07) and _between(found[1], 0.5) < 3


@pytest.mark.parametrize("border", [MIRRORED, REPEATED], ids=["mirrored", "repeated"])
def test_a_motion_is_undone_whatever_the_border(border):
    gains, others = [], []
    undo = jax.jit(lambda image, blur: deblurring.deconvolve(MOTION, image, blur))
    for seed, degrees in enumerate((10, 55, 120)):
        picture = _picture(seed)
        blurred = _moved(picture, 15, np.deg2rad(degrees), border)
        sharp = undo(blurred, np.array([15, np.deg2rad(degrees), 1], np.float32))
        kernel = line_kernel(15, np.deg2rad(degrees))
        filtered = np.stack([restoration.wiener(blurred[..., c], kernel, 0.01) for c in range(3)], -1)
        before = _psnr(picture, blurred)
        gains.append(_psnr(picture, sharp) - before)
        others.append(_psnr(picture, filtered) - before)
    assert min(gains) > 5 and np.mean(gains) > np.mean(others) + 3


def test_oblong_images_together():
    pictures = np.stack([_picture(seed)[:, 20:116] for seed in range(2)])
    blurred = np.stack([_moved(picture, 11, 0.7) for picture in pictures])
    deblur = functools.partial(deblurring.deblur, "motion")
    mask = np.zeros((2, SIDE, 96, 1), np.float32)
    together = jax.jit(jax.vmap(deblur))(blurred, mask)
    np.testing.assert_allclose(
        together, jax.jit(functools.partial(jax.lax.map, lambda image: deblur(*image)))((blurred, mask)), atol=1e-3
    )
    for truth, before, after in zip(pictures, blurred, together, strict=True):
        assert _psnr(truth, after) > _psnr(truth, before) + 4


def test_of_a_round_blur_noise_is_not_made_much_of():
    picture = _picture(1)
    blurred = _unsharp(picture, 3)
    sharp = deblurring.deconvolve(BLUR, jnp.asarray(blurred), jnp.array([3.0, 0.0, 1.0]))
    assert _psnr(picture, sharp) > _psnr(picture, blurred) + 1.5


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", deblurring.KINDS)
def test_an_image_of_one_colour_stays(kind, level):
    image = jnp.full((SIDE, SIDE, 3), level)
    np.testing.assert_allclose(deblurring.deblur(kind, image, image[..., :1] * 0), image, atol=1e-5)


def _psnr(truth, image):
    return peak_signal_noise_ratio(truth, np.clip(np.asarray(image), 0, 1), data_range=1)


def test_transforms_are_numpys_on_every_device():
    shape, corner = (20, 26), (16, 21)
    planes = np.random.default_rng(0).normal(size=(3, *corner)).astype(np.float32)
    expected = np.fft.rfft2(planes, s=shape)
    for context in (by_device.as_on_accelerators, contextlib.nullcontext):
        with context():
            spectrum = jax.jit(lambda planes: fourier.forward(planes, shape))(planes)
            back = jax.jit(lambda spectrum: fourier.inverse(spectrum, shape, (9, 7)))(spectrum)
        np.testing.assert_allclose(spectrum[0] + 1j * spectrum[1], expected, atol=1e-4)
        np.testing.assert_allclose(back, planes[:, :9, :7], atol=1e-6)


def _model(**fields):
    config = config_lib.default().model
    config.width, config.encoder_blocks, config.decoder_blocks, config.middle_blocks = 4, (1,), (1,), 0
    config.update(fields)
    return models.create(config)


def _blurred_faces():
    images = np.stack([_moved(_picture(seed, 48), 6, 0.3) for seed in range(2)])
    return images, np.zeros((2, 48, 48, 1), np.float32)


def _deblurred(image, mask):
    return jax.jit(functools.partial(deblurring.deblur, "motion"))(image, mask)


def test_a_network_restores_what_was_deblurred():
    plain, model = _model(), _model(deblur=("motion",))
    images, mask = _blurred_faces()
    mask[1, 4:9, 4:9] = 1  # what has a hole keeps its pixels
    params = jax.jit(plain.init, static_argnums=1)(jax.random.key(0), 48)
    expected = np.stack([_deblurred(images[0], mask[0]), images[1]])
    assert np.abs(expected[0] - images[0]).max() > 0.05
    np.testing.assert_allclose(
        jax.jit(model.apply)(params, images, mask), jax.jit(plain.apply)(params, expected, mask), atol=1e-4
    )


def test_experts_deblur_for_themselves_alone():
    model = _model(experts=("blind", "motion"), deblur=("", "motion"))
    images, mask = _blurred_faces()
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), 48)  # restores nothing yet
    apply = jax.jit(model.apply)
    for expert, expected in enumerate((images[0], _deblurred(images[0], mask[0]))):
        params["router"]["logits"]["bias"] = 1e3 * jax.nn.one_hot(expert, 2)
        np.testing.assert_allclose(apply(params, images, mask)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"deblur": ("haze",)}, '"haze" is not possible here'),
        ({"deblur": ("motion", "")}, "names 2 kinds of blur for 1 networks"),
        ({"deblur": ("motion",), "experts": ("blind", "motion")}, "names 1 kinds of blur for 2 networks"),
        ({"deblur": ("motion",), "name": "face_prior"}, 'config.model.deblur is for an encoder_decoder; "face_prior"'),
    ],
)
def test_what_cannot_be_deblurred_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        _model(**fields)
