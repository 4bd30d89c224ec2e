"""Each building block against an independent implementation."""

import io
import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from skimage import data

from faceflax.degradations import blind, blur, facemask, jpeg, noise, occlusion, resize


@pytest.fixture(scope="module")
def photograph():
    """Any natural picture: 96x96 RGB in [0, 1] (an astronaut's face, public domain, from scikit-image)."""
    return cv2.resize(data.astronaut()[0:208, 120:328], (96, 96), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def psnr(a, b):
    return -10 * math.log10(np.mean(np.square(np.asarray(a) - np.asarray(b))) + 1e-12)


@pytest.mark.parametrize("sigma", [0.8, 3.0])
def test_gaussian_blur_is_opencvs(photograph, sigma):
    ours = blur.filter2d(photograph, blur.gaussian_kernel(9, sigma, sigma, 0.3))
    theirs = cv2.GaussianBlur(photograph, (19, 19), sigma, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_rotated_gaussian_has_the_covariance_asked_for():
    angle = 0.5
    kernel = np.asarray(blur.gaussian_kernel(24, 5.0, 2.0, angle), np.float64)
    y, x = np.mgrid[-24:25, -24:25]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = turn @ np.diag([25.0, 4.0]) @ turn.T
    measured = [[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * x * y).sum(), (kernel * y * y).sum()]]
    np.testing.assert_allclose(measured, expected, rtol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0])
def test_motion_is_the_line_that_opencv_draws(photograph, angle):
    length, radius, fine = 15, 10, 16
    side = (2 * radius + 1) * fine
    middle, reach = side / 2, length * fine / 2
    ends = [(round(middle + s * reach * np.cos(angle)), round(middle + s * reach * np.sin(angle))) for s in (-1, 1)]
    drawn = cv2.line(np.zeros((side, side), np.float32), *ends, 1.0, thickness=fine)
    drawn = cv2.resize(drawn, (2 * radius + 1,) * 2, interpolation=cv2.INTER_AREA)
    theirs = cv2.filter2D(photograph, -1, drawn / drawn.sum(), borderType=cv2.BORDER_REFLECT_101)
    ours = blur.filter2d(photograph, blur.line_kernel(radius, length, angle))
    other_way = blur.filter2d(photograph, blur.line_kernel(radius, length, angle + 0.4))
    assert psnr(ours, theirs) > 40 > psnr(other_way, theirs) + 5


@pytest.mark.parametrize("length", [5, 9, 15, 25])
def test_a_jagged_line_is_opencvs(length):
    missed = []
    for angle in np.linspace(0.05, 3.1, 23):
        reach = np.round((length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        drawn = cv2.line(np.zeros((29, 29), np.uint8), tuple(14 - reach), tuple(14 + reach), 1)
        kernel = np.asarray(blur.jagged_line_kernel(14, length, angle))
        assert (kernel > 0).sum() == drawn.sum()
        np.testing.assert_allclose(kernel[kernel > 0], 1 / drawn.sum(), rtol=1e-6)
        assert not (kernel[cv2.dilate(drawn, np.ones((3, 3))) == 0] > 0).any()
        missed.append((drawn[kernel == 0] > 0).sum() / drawn.sum())
    assert np.mean(missed) < 0.15  # where the line passes between two pixels, OpenCV takes one or the other


@pytest.mark.parametrize(("before", "after"), [(96, 48), (96, 24), (96, 6), (96, 37), (24, 96)])
def test_bicubic_is_pillows(photograph, before, after):
    image = photograph[:before, :before]
    weights = resize.bicubic_weights(after, before, after, before)
    ours = resize.apply(weights, weights, image)
    planes = [Image.fromarray(image[..., c], "F").resize((after, after), Image.BICUBIC) for c in range(3)]
    np.testing.assert_allclose(ours, np.stack(planes, axis=-1), atol=2e-5)


def test_a_round_trip_through_a_small_size_is_pillows(photograph):
    planes = []
    for channel in range(3):
        small = Image.fromarray(photograph[..., channel], "F").resize((24, 24), Image.BICUBIC)
        planes.append(small.resize((96, 96), Image.BICUBIC))
    ours = jax.jit(resize.down_up)(photograph, 4.0)
    np.testing.assert_allclose(ours, np.stack(planes, axis=-1), atol=2e-5)


@pytest.mark.parametrize("after", [31, 96])
def test_bilinear_is_opencvs_and_the_last_pixel_fills_the_canvas(photograph, after):
    weights = resize.bilinear_weights(96, 96, after, 96)
    ours = np.asarray(resize.apply(weights, weights, photograph))
    theirs = cv2.resize(photograph, (after, after), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(ours[:after, :after], theirs, atol=2e-5)
    np.testing.assert_array_equal(ours[after:], np.broadcast_to(ours[after - 1], ours[after:].shape))


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
@pytest.mark.parametrize("shape", [(96, 96), (90, 75)])
def test_jpeg_is_pillows(photograph, quality, shape):
    pixels = np.round(photograph[: shape[0], : shape[1]] * 255).astype(np.uint8)
    coded = io.BytesIO()
    Image.fromarray(pixels).save(coded, "JPEG", quality=quality, subsampling="4:2:0")
    theirs = np.asarray(Image.open(coded)) / 255.0
    ours = jax.jit(jpeg.compress)(pixels / 255.0, quality)
    assert psnr(ours, theirs) > 40
    assert psnr(ours, theirs) > psnr(pixels / 255.0, theirs) + 5


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 60, 93, 100])
def test_quantisation_tables_are_pillows(quality):
    coded = io.BytesIO()
    Image.new("RGB", (16, 16)).save(coded, "JPEG", quality=quality)
    tables = Image.open(coded).quantization
    np.testing.assert_array_equal(jpeg.quantisation_table(jpeg._LUMINANCE, quality).ravel(), tables[0])
    np.testing.assert_array_equal(jpeg.quantisation_table(jpeg._CHROMINANCE, quality).ravel(), tables[1])


def test_noise_is_normal_white_and_its_own_for_every_key():
    keys = jax.random.split(jax.random.key(3), 8)
    draws = np.asarray(jax.vmap(lambda key: noise.standard_normal(key, (128, 128, 3)))(keys))
    flat = draws.reshape(8, -1)
    assert abs(flat.mean()) < 4 / np.sqrt(flat.size)
    assert abs(flat.std() - 1) < 4 / np.sqrt(2 * flat.size)
    for sample in flat:
        assert stats.kstest(sample[::7], "norm").pvalue > 1e-4
    assert abs(stats.kurtosis(flat.ravel())) < 0.03 and abs(stats.skew(flat.ravel())) < 0.02
    limit = 5 / np.sqrt(flat[0].size)
    for axis in (1, 2, 3):
        for step in (1, 2) if axis < 3 else (1,):
            there, back = np.moveaxis(draws, axis, 0)[step:], np.moveaxis(draws, axis, 0)[:-step]
            assert abs(np.mean(there * back)) < limit, "neighbours are correlated"
    correlation = np.corrcoef(flat) - np.eye(8)
    assert abs(correlation).max() < limit, "two keys share their noise"
    spectrum = np.abs(np.fft.fft2(draws, axes=(1, 2))) ** 2 / 128**2
    assert spectrum.mean(axis=(0, 3)).max() < 3.2, "a pattern shows in the spectrum"


@pytest.mark.parametrize("sigma", [15, 50])
def test_added_noise_has_the_deviation_asked_for(sigma):
    grey = jnp.full((64, 64, 3), 0.5)
    error = 255 * (np.asarray(noise.add_gaussian(jax.random.key(0), grey, sigma)) - 0.5)
    assert abs(error.std() / sigma - 1) < 0.03


def test_holes_take_the_area_asked_for_and_come_in_both_kinds():
    draw = jax.jit(jax.vmap(lambda key, share: occlusion.draw_hole(key, 64, 64, share), in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(0), 48)
    for share in (0.1, 0.25, 0.5):
        holes = np.asarray(draw(keys, share))
        assert set(np.unique(holes)) == {0.0, 1.0}
        np.testing.assert_allclose(holes.mean(axis=(1, 2)), share, atol=0.015)
        filled = []  # the part of its bounding box that a hole fills: 1 for boxes
        for hole in holes:
            rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
            filled.append(hole.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
        boxes = np.sum(np.array(filled) > 0.999)
        assert 12 <= boxes <= 36


def test_mask_and_glasses_cover_what_they_are_worn_on():
    keys = jax.random.split(jax.random.key(0), 32)
    masks = np.asarray(jax.jit(jax.vmap(lambda key: facemask.surgical_mask(key, 128, 128).covers))(keys))
    glasses = np.asarray(jax.jit(jax.vmap(lambda key: facemask.dark_glasses(key, 128, 128).covers))(keys))

    def at(u, v):
        return (slice(None), round(v * 128), round((u + 0.5) * 128))

    for mouth in ((0.0, 0.62), (-0.08, 0.73), (0.08, 0.73), (0.0, 0.88)):
        assert masks[at(*mouth)].all() and not glasses[at(*mouth)].any()
    for eye in ((-0.13, 0.465), (0.13, 0.465)):
        assert glasses[at(*eye)].all() and not masks[at(*eye)].any()
    for bare in ((0.0, 0.3), (-0.45, 0.8), (0.45, 0.8)):
        assert not masks[at(*bare)].any() and not glasses[at(*bare)].any()
    assert masks.mean(axis=(1, 2)).min() > 0.14 and masks.mean(axis=(1, 2)).max() < 0.23
    assert glasses.mean(axis=(1, 2)).min() > 0.03 and glasses.mean(axis=(1, 2)).max() < 0.08
    assert len({mask.tobytes() for mask in masks}) == len(keys)


def test_blind_is_opencvs_chain_for_the_same_draws(photograph, monkeypatch):
    """With the noise taken out, the same parameters through OpenCV give the same picture."""
    seen = {}

    def spy(module, name, store):
        real = getattr(module, name)

        def wrapped(*args):
            store(*args)
            return real(*args)

        monkeypatch.setattr(module, name, wrapped)

    spy(blur, "gaussian_kernel", lambda radius, sx, sy, angle: seen.update(kernel=(radius, sx, sy, angle)))
    spy(jpeg, "compress", lambda image, quality: seen.update(quality=int(round(float(quality)))))
    spy(resize, "bilinear_weights", lambda co, ci, out, size: seen.setdefault("small", int(out)))
    monkeypatch.setattr(noise, "add_gaussian", lambda key, image, sigma: image)
    for seed in range(6):
        seen.clear()
        ours = blind.degrade(jax.random.key(seed), photograph, 2)
        kernel = np.asarray(blur.gaussian_kernel(*seen["kernel"]))
        image = cv2.filter2D(photograph, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        image = cv2.resize(image, (seen["small"],) * 2, interpolation=cv2.INTER_LINEAR)
        pixels = np.clip(np.round(image[..., ::-1] * 255), 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, seen["quality"]])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
        theirs = cv2.resize(decoded, (96, 96), interpolation=cv2.INTER_LINEAR)
        assert psnr(ours, theirs) > 40
