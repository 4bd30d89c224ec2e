"""Noise and light: what is clean and well lit stays, what is not comes nearer to the clean face."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import estimate_sigma

from faceflax.degradations.tasks import FUNCTIONS
from faceflax.preprocessing import chain, denoise, relight
from faceflax.preprocessing.chain import Settings
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.landmarks import TEMPLATE
from tests import faces

FACES = faces.load(16)
OVAL = relight.oval(128, TEMPLATE)
RNG = np.random.default_rng(0)


def damaged(task, severity, face=FACES[1]):
    image, _ = FUNCTIONS[task](jax.random.key(3), jnp.asarray(face, jnp.float32) / 255, severity)
    return np.uint8(np.clip(np.round(255 * np.asarray(image)), 0, 255))


def luminance(pixels):
    return (pixels @ (0.299, 0.587, 0.114) / 255)[OVAL]


def test_clean_faces_are_not_denoised():
    for face in FACES:
        after, done = denoise.denoise(face)
        assert after is face and done["strength"] == 0 and 0 < done["sigma"] < denoise.LEAST_SIGMA


@pytest.mark.parametrize("sigma", [8, 15, 25, 50])
def test_the_noise_is_estimated_and_removed(sigma):
    noisy = np.uint8(np.clip(np.round(FACES[0] + RNG.normal(0, sigma, FACES[0].shape)), 0, 255))
    after, done = denoise.denoise(noisy)
    assert done["sigma"] == pytest.approx(sigma, rel=0.25)  # black and white cut strong noise off
    gain = peak_signal_noise_ratio(FACES[0], after) - peak_signal_noise_ratio(FACES[0], noisy)
    assert gain > (1 if sigma == 8 else 4)


@pytest.mark.parametrize("shape", [(64, 64, 3), (41, 90, 3), (64, 64)])
def test_the_noise_is_what_scikit_image_estimates(shape):
    rng = np.random.default_rng(0)
    noisy = np.clip(rng.normal(235, 12, shape), 0, 255).astype(np.uint8)  # partly cut off, where nothing changes
    expected = estimate_sigma(
        noisy.astype(np.float32), channel_axis=-1 if len(shape) == 3 else None, average_sigmas=True
    )
    assert denoise.estimate(noisy) == pytest.approx(expected, rel=1e-6)


def test_tiny_and_flat_images_have_no_noise():
    for shape in ((1, 1, 3), (4, 200, 3), (50, 50, 3), (50, 50)):
        assert denoise.estimate(np.full(shape, 90, np.uint8)) < 1e-9


def test_most_well_lit_faces_stay_as_they_are():
    done = [relight.relight(face, OVAL) for face in FACES]
    same = sum(after is face for face, (after, _) in zip(FACES, done, strict=True))
    assert same >= 0.7 * len(FACES)
    for face, (after, _) in zip(FACES, done, strict=True):
        assert np.corrcoef(face.ravel(), after.ravel())[0, 1] > 0.93


@pytest.mark.parametrize("level", [1, 2, 3])
def test_dark_faces_get_their_light_back(level):
    dark = damaged("lowlight", level)
    after, done = relight.relight(dark, OVAL)
    assert done["gamma"] < 1
    assert relight.MEDIAN[0] < np.median(luminance(after)) < relight.TARGET + 0.08
    assert peak_signal_noise_ratio(FACES[1], after) > peak_signal_noise_ratio(FACES[1], dark) + 3


def test_a_dark_face_loses_its_noise_before_its_tones_are_bent():
    """Nearer to the clean face than in better light alone, and than with the noise removed after that."""
    face = Face(np.array([20.0, 20, 108, 128]), 128 * TEMPLATE, 0.9)
    dark = damaged("lowlight", 2)
    found = {
        denoised: chain.normalise_face(dark, face, None, Settings(size=128, denoise=denoised))
        for denoised in (True, False)
    }
    after, relit = found[True].pixels, found[False].pixels
    before = denoise.denoise(relit)[0]
    errors = [peak_signal_noise_ratio(FACES[1], view) for view in (after, relit, before)]
    assert errors[0] > max(errors[1:]) + 1
    assert found[True].record["relight"]["gain"] > 1.5


def test_a_face_in_good_light_is_not_brightened():
    assert relight.brighten(FACES[1], OVAL)[0] is FACES[1]
    dark = np.uint8(FACES[1] * 0.2)
    after, gain = relight.brighten(dark, OVAL)
    top = np.percentile(dark[OVAL], 99)
    assert gain > 3 and 180 < top * gain < 255
    assert np.abs(after - gain * dark)[dark <= top].max() < 0.6
    order = np.argsort(dark.ravel())
    assert (np.diff(after.ravel()[order].astype(int)) >= 0).all() and len(np.unique(after)) == len(np.unique(dark))


@pytest.mark.parametrize("brightest", ["pixel", "stamp", "lamp"])
def test_something_bright_does_not_leave_a_dark_face_with_its_noise(brightest):
    """What is done to the face, and how near it comes to the clean one, is as without."""
    face = Face(np.array([20.0, 20, 108, 128]), 128 * TEMPLATE, 0.9)
    dark = damaged("lowlight", 2)
    with_it = dark.copy()
    place = {"pixel": np.s_[0, 0], "stamp": np.s_[116:124:3, 70:120:2], "lamp": np.s_[:20, :20]}[brightest]
    with_it[place] = 255
    plain, found = (chain.normalise_face(view, face, None, Settings(size=128)) for view in (dark, with_it))
    assert found.record["relight"]["gain"] == plain.record["relight"]["gain"] > 1.5
    assert found.record["denoise"]["strength"] > 0.9 * plain.record["denoise"]["strength"] > 10
    errors = [peak_signal_noise_ratio(FACES[1][OVAL], view.pixels[OVAL]) for view in (plain, found)]
    assert errors[1] > errors[0] - 0.5
    assert (relight.brighten(with_it, OVAL)[0] == 255).mean() <= (with_it == 255).mean()  # nothing else is clipped


def with_median(median):
    """A grey face whose luminance has this median."""
    grey = FACES[0] @ (0.299, 0.587, 0.114) / 255
    grey = grey ** (np.log(median) / np.log(np.median(grey[OVAL])))
    return np.repeat(np.uint8(np.round(255 * grey))[..., None], 3, axis=2)


@pytest.mark.parametrize(("median", "gamma"), [(0.77, 1.1), (0.8, 1.29), (0.85, 1.77), (0.95, 2)])
def test_faces_too_bright_are_eased(median, gamma):
    """As far as the edge of the usual, and no further than a gamma of 2 brings them."""
    bright = with_median(median)
    after, done = relight.relight(bright, OVAL)
    assert done["gamma"] == pytest.approx(gamma, abs=0.05)
    assert relight.MEDIAN[1] - 0.01 < np.median(luminance(after)) < median


@pytest.mark.parametrize(("edge", "step"), [(relight.MEDIAN[0], -0.005), (relight.MEDIAN[1], 0.005)])
def test_exposure_has_no_jump_at_the_edges_of_the_usual(edge, step):
    """What lies a little outside changes a little, as the skin of well-lit people may lie there."""
    inside, outside = with_median(edge - step), with_median(edge + step)
    assert relight.relight(inside, OVAL)[1]["gamma"] == 1
    after, done = relight.relight(outside, OVAL)
    assert done["gamma"] != 1 and done["slope"] == done["contrast"] == 0
    assert np.abs(after.astype(int) - outside).max() < 6


def test_a_dark_face_gets_the_more_light_the_darker_it_is():
    gammas = [relight.relight(with_median(median), OVAL)[1]["gamma"] for median in np.arange(0.03, 0.35, 0.02)]
    assert (np.diff(gammas) > 0).all() and gammas[-1] < 1
    for median in (0.05, 0.15, relight.DARK - 0.01):
        after, done = relight.relight(with_median(median), OVAL)
        assert done["contrast"] or np.median(luminance(after)) == pytest.approx(relight.TARGET, abs=0.02)


def test_a_bright_face_keeps_its_colours():
    """They are nearly as strong as in the photograph of the same face that is exposed to the edge of the usual."""

    def exposed(face, median):
        for exposure in np.geomspace(1, 60, 200):
            film = 1 - np.exp(-exposure * (face / 255) ** 2.2)
            view = np.uint8(np.round(255 * (film / (1 - np.exp(-exposure))) ** (1 / 2.2)))
            if np.median(luminance(view)) > median:
                return view
        raise AssertionError(median)

    def strength(view):
        lab = cv2.cvtColor(np.float32(view / 255), cv2.COLOR_RGB2LAB)
        return np.hypot(*lab[OVAL][:, 1:].T).mean()

    shares = []
    for face in FACES[:8]:
        after, done = relight.relight(exposed(face, 0.86), OVAL)
        if done["red"] == done["blue"] == 1 and not done["slope"]:
            shares.append(strength(after) / strength(exposed(face, relight.MEDIAN[1])))
    assert len(shares) >= 3 and 0.85 < np.mean(shares) < 1.15


def difference(view):
    """Logarithm of the right half of the face over the left."""
    is_right = np.nonzero(OVAL)[1] >= 64
    return np.log(luminance(view)[is_right].mean() / luminance(view)[~is_right].mean())


@pytest.mark.parametrize("sign", [1, -1])
def test_side_light_is_evened(sign):
    errors = []
    for face in FACES[:8]:
        side = np.uint8(face * np.exp(np.linspace(-2.5, 0, 128))[::sign][None, :, None])
        after, _ = relight.relight(side, OVAL)
        errors.append([abs(difference(view) - difference(face)) for view in (side, after)])
    before, now = np.mean(errors, axis=0)
    assert now < 0.6 * before


def test_a_cast_is_taken_away():
    def cast(view):
        red, green, blue = view[OVAL].mean(axis=0)
        return np.log([red / green, blue / green])

    errors = []
    for face in FACES[:8]:
        orange = np.uint8(face * (1, 0.75, 0.5))
        after, _ = relight.relight(orange, OVAL)
        errors.append([np.abs(cast(view) - cast(face)).max() for view in (orange, after)])
    before, now = np.mean(errors, axis=0)
    assert now < 0.5 * before


def test_grey_faces_get_no_colour():
    grey = np.repeat(cv2.cvtColor(damaged("lowlight", 2), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    after, done = relight.relight(grey, OVAL)
    assert done["red"] == done["blue"] == 1 and (np.ptp(after, axis=2) == 0).all()


def test_haze_is_stretched():
    haze = np.uint8(0.2 * FACES[0] + 130)
    after, done = relight.relight(haze, OVAL)
    assert done["contrast"] == 1
    assert np.ptp(np.percentile(luminance(after), (5, 95))) > 2 * np.ptp(np.percentile(luminance(haze), (5, 95)))


@pytest.mark.parametrize("damage", ["dark", "bright", "side", "orange", "haze"])
def test_no_highlight_is_clipped(damage):
    face = FACES[2].astype(float)
    view = np.uint8(
        {
            "dark": 0.2 * face,
            "bright": 255 * (face / 255) ** 0.2,
            "side": face * np.exp(np.linspace(-2.5, 0, 128))[None, :, None],
            "orange": face * (1, 0.75, 0.5),
            "haze": 0.2 * face + 130,
        }[damage]
    )
    after, _ = relight.relight(view, OVAL)
    assert not np.array_equal(after, view)
    newly_white = (after == 255) & (view < view.max())
    assert newly_white.mean() < 0.002


def test_the_oval_is_the_inner_face():
    for point in TEMPLATE:
        assert OVAL[tuple((128 * point).astype(int)[::-1])]
    assert 0.15 < OVAL.mean() < 0.35 and not OVAL[:20].any() and not OVAL[:, :25].any()
