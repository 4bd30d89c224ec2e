"""Pasting restored crops back: what is not blended stays to the bit, and what is blended shows no seam."""

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.images import Photograph
from faceflax.restoration import noisiness, paste, seam, subjects
from tests import faces

SIZE = 64
RNG = np.random.default_rng(0)
MASK = paste.soft_mask(paste.outline() * SIZE, SIZE)


def turned(scale, degrees, middle):
    """The place of a crop whose middle lies at `middle`, `scale` crop pixels a photograph's pixel, turned."""
    turn = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Alignment(SIZE, np.column_stack([linear, np.array([SIZE / 2] * 2) - linear @ middle]))


def smooth(height, width, channels=3):
    coarse = RNG.integers(60, 200, (5, 6, channels)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_the_mask_is_a_face_and_rises_without_a_step():
    assert MASK[:, [0, -1]].max() == MASK[[0, -1]].max() == 0
    assert MASK[36, 32] == 1 and 0.3 < MASK.mean() < 0.6
    steps = [np.abs(np.diff(MASK, axis=axis)).max() for axis in (0, 1)]
    assert max(steps) < 0.35 and MASK.min() == 0


def test_a_mask_near_the_edge_of_the_crop_still_ends_at_nothing():
    mask = paste.soft_mask(np.array([(-20, -20), (40, -20), (40, 90), (-20, 90)]), SIZE)
    assert mask[:, 0].max() < 0.1 and mask[0].max() < 0.1 and mask[-1].max() < 0.1
    assert mask[30, 20] == 1 and mask[30, 45] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("place", [turned(2, 30, (50, 40)), turned(0.4, -100, (60, 50)), turned(1, 0, (3, 70))])
def test_pixels_outside_the_blend_stay_to_the_bit(dtype, channels, place):
    shape = (80, 110, 3) if channels == 3 else (80, 110)
    pixels = RNG.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    result = pixels.copy()
    weight = paste.paste(result, np.full((SIZE, SIZE, 3), 0.6, np.float32), MASK, place)
    assert weight.shape == (80, 110) and weight.max() > 0.9
    np.testing.assert_array_equal(result[weight == 0], pixels[weight == 0])
    inner = result[weight == 1]
    assert inner.size and np.abs(inner / np.iinfo(dtype).max - 0.6).max() < 0.01


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0), (2.0, 20), (0.5, 45), (1.3, -160)])
def test_a_crop_that_was_not_changed_does_not_show(scale, degrees):
    pixels = smooth(160, 200)
    place = turned(scale, degrees, (90.3, 81.7))
    result = pixels.copy()
    paste.paste(result, place.crop(pixels).astype(np.float32) / 255, MASK, place)
    assert np.abs(result.astype(int) - pixels).max() <= 2


def test_a_crop_in_a_corner_and_one_outside():
    pixels = smooth(50, 50)
    for middle, touched in (((0, 0), True), ((49, 20), True), ((300, 300), False)):
        result = pixels.copy()
        weight = paste.paste(result, np.zeros((SIZE, SIZE, 3), np.float32), MASK, turned(2, 10, middle))
        assert weight.any() == touched and (result != pixels).any() == touched


def test_shrinking_is_antialiased():
    stripes = np.zeros((SIZE, SIZE, 3), np.float32)
    stripes[:, ::2] = 1
    pixels = np.full((40, 40, 3), 128, np.uint8)
    paste.paste(pixels, stripes, MASK, turned(3, 15, (20, 20)))
    assert np.abs(pixels.astype(int) - 128).max() < 50  # without, 128


def test_only_allowed_pixels_change(monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    pixels, allowed = smooth(80, 80), np.zeros((80, 80), bool)
    allowed[30:40, 35:60] = True
    result = pixels.copy()
    paste.paste(result, np.ones((SIZE, SIZE, 3), np.float32), np.ones_like(MASK), turned(1, 0, (40, 40)), allowed)
    np.testing.assert_array_equal(result[~allowed], pixels[~allowed])
    assert (result[allowed] == 255).all()


def test_colour_comes_from_the_photograph_and_detail_from_the_network():
    crop = smooth(SIZE, SIZE).astype(np.float32) / 255
    noise = RNG.normal(0, 0.1, crop.shape).astype(np.float32)
    restored = 0.8 * crop + (0.15, -0.1, 0.05) + 0.05 * np.indices((SIZE, SIZE)).sum(0)[..., None] % 2 * 0.1
    matched = paste.match_colour(restored.astype(np.float32), crop + noise)
    low = cv2.GaussianBlur(matched - crop, (0, 0), 6)
    assert np.abs(low).mean() < 0.02 < np.abs(restored - crop).mean()
    detail = matched - cv2.GaussianBlur(matched, (0, 0), 2)
    assert detail.std() < 0.03  # the noise was not brought back


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_enlarged_photograph_takes_the_crop_where_it_was(times):
    pixels = smooth(60, 70)
    place = turned(1.5, 25, (33, 28))
    large = paste.enlarge(pixels, times)
    result = large.copy()
    paste.paste(result, place.crop(pixels).astype(np.float32) / 255, MASK, paste.enlarged(place, times))
    assert large.shape == (60 * times, 70 * times, 3)
    assert np.abs(result.astype(int) - large).max() <= 4


def finely_drawn(noise):
    """A face-sized picture with the power of natural ones at every frequency, its crop, and the crop without noise."""
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    spectrum = np.fft.fft2(RNG.normal(size=(256, 256))) / np.maximum(frequencies, 1 / 256)
    picture = np.fft.ifft2(spectrum).real
    clean = np.repeat((0.5 + 0.12 * picture / picture.std())[..., None], 3, axis=2)
    noisy = clean + RNG.normal(0, noise, clean.shape)
    clean, noisy = (np.round(np.clip(values, 0, 1) * 65535).astype(np.uint16) for values in (clean, noisy))
    place = turned(0.25, 0, (128, 128))
    crops = [place.crop(values).astype(np.float32) / 65535 for values in (noisy, clean)]
    return clean, noisy, place, *crops


def test_a_large_face_without_damage_stays_sharp():
    _, pixels, place, crop, _ = finely_drawn(0)
    kept = paste.kept_detail(crop, crop, MASK, 4)
    assert kept > 0.99
    result = pixels.copy()
    paste.paste(result, crop - np.float32(kept) * crop, MASK, place, kept=kept)
    assert np.abs(result.astype(int) - pixels).max() < 65535 * 0.005


def test_noise_finer_than_the_network_sees_is_not_kept():
    clean, noisy, place, crop, restored = finely_drawn(0.15)
    kept = paste.kept_detail(restored, crop, MASK, 4)
    assert kept < 0.25
    results = []
    for share in (kept, 1.0):
        results.append(noisy.copy())
        paste.paste(results[-1], restored - np.float32(share) * crop, MASK, place, kept=share)
    inner = slice(100, 170)
    ours, all_kept = (np.abs(result[inner, inner] / 65535 - clean[inner, inner] / 65535).mean() for result in results)
    assert ours < 0.5 * all_kept


def test_of_a_small_face_nothing_is_kept():
    _, _, _, crop, _ = finely_drawn(0)
    assert paste.kept_detail(crop, crop, MASK, 0.8) == 0


def softened(picture):
    """What a network makes of a picture without damage: a third of the detail of single pixels is lost."""
    return picture - np.float32(0.33) * (picture - cv2.GaussianBlur(picture, (0, 0), 0.8))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_face_without_damage_is_not_softened(step):
    (face,) = faces.load(1, SIZE)
    crop = face.astype(np.float32) / 255
    pixels = cv2.resize(face, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    place = turned(1 / step, 0, (step * SIZE / 2, step * SIZE / 2))
    located = subjects.Crop(place, crop, np.zeros((SIZE, SIZE, 1), np.float32), MASK, crop, b"")
    result = pixels.copy()
    subjects.put_back(result, located, softened(crop), 1)
    assert np.abs(result.astype(int) - pixels).max() <= 3
    plain = pixels.copy()
    paste.paste(plain, softened(crop), MASK, place)
    assert np.abs(plain.astype(int) - pixels).max() > 15


@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits"])
def test_noise_that_a_shrunk_crop_hides_is_not_put_back(kind):
    rng, (face,) = np.random.default_rng(0), faces.load(1, SIZE)
    clean = cv2.resize(face, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC).astype(float)
    if kind == "grey":
        clean = clean.mean(-1, keepdims=True)
    noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255)
    pixels = np.round(noisy).astype(np.uint8) if kind != "16 bits" else np.round(noisy * 257).astype(np.uint16)
    pixels, unit = pixels.squeeze(), pixels.max() / noisy.max()
    crop = subjects.cut(Photograph(pixels, None), turned(1 / 6, 0, (3 * SIZE, 3 * SIZE)), MASK)
    assert 20 < crop.noise < 27
    restored = cv2.resize(clean.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255
    restored = np.broadcast_to(restored.reshape(SIZE, SIZE, -1), crop.image.shape)
    assert paste.spared(restored, crop.image, MASK) > 0.5  # by the crop alone it would hardly be mended
    result = pixels.copy()
    assert subjects.put_back(result, crop, restored, 1) == 0
    inner = slice(2 * SIZE, 4 * SIZE)
    errors = [np.abs(each[inner, inner] / unit - clean.squeeze()[inner, inner]).mean() for each in (pixels, result)]
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize(("noise", "share"), [(0, 1), (6, 1), (8, 0.5), (10, 0), (40, 0)])
def test_how_clean_a_face_is(noise, share):
    assert noisiness.cleanness(noise) == share


def damaged(clean, damage):
    picture = clean.copy()
    if "noise" in damage:
        sigma = {"light noise": 11, "noise": 15}[damage]
        picture += RNG.normal(0, sigma / 255, clean.shape).astype(np.float32)
    elif damage == "blur":
        picture = cv2.GaussianBlur(clean, (0, 0), 1.5)
    elif damage == "lines":
        picture[::2] += 0.2
        picture[1::2] -= 0.2
    elif damage == "patch":
        picture[30:38, 25:35] = 0.5
    elif damage == "jpeg":
        code = cv2.imencode(".jpg", np.round(255 * clean).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        picture = cv2.imdecode(code, cv2.IMREAD_COLOR).astype(np.float32) / 255
    elif damage == "half the size":
        picture = cv2.resize(cv2.resize(clean, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    return picture


@pytest.mark.parametrize("damage", ["noise", "blur", "lines", "patch", "jpeg", "half the size"])
def test_what_a_network_mends_is_not_taken_back(damage):
    clean = faces.load(1, SIZE)[0].astype(np.float32) / 255
    assert paste.spared(softened(clean), damaged(clean, damage), MASK) == 0
    assert paste.spared(softened(clean), clean, MASK) == 1


def test_grey_noise_that_a_network_takes_for_detail_but_at_its_finest_is_not_put_back():
    grey = faces.load(1, SIZE)[0].astype(np.float32).mean(-1, keepdims=True).repeat(3, -1) / 255
    noise = np.random.default_rng(0).normal(0, 17 / 255, (SIZE, SIZE, 1)).astype(np.float32).repeat(3, -1)
    finest = noise - cv2.GaussianBlur(noise, (0, 0), 1.0)
    shares = [paste.spared(grey + noise - np.float32(part) * finest, grey + noise, MASK) for part in (0.95, 0.8, 0.6)]
    assert shares[0] == 0 and 0 < shares[1] < 1 and shares[2] == 1


def test_what_is_spared_does_not_tremble():
    """Frames of one face differ by their noise; what is taken back of each differs little."""
    clean = faces.load(1, SIZE)[0].astype(np.float32) / 255
    shares = [paste.spared(softened(clean), damaged(clean, "light noise"), MASK) for _ in range(6)]
    assert np.abs(np.diff(shares)).max() < 0.2 and all(0 < share < 1 for share in shares)
