"""Each classical method must earn its column, on degradations made here with OpenCV and numpy."""

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from faceflax.datasets import images, registry
from faceflax.degradations import TASKS
from faceflax.evaluation.baselines import BASELINES, motion_angle

_NONE = np.zeros((128, 128), np.uint8)


@pytest.fixture(scope="module")
def faces():
    source = registry.load("mini_faces", "train")
    return [images.decode(source[i]["image"]) for i in range(4)]


def _gain(task, severity, faces, degrade, mask=_NONE):
    gains = []
    for number, face in enumerate(faces):
        rng = np.random.default_rng(number)
        degraded = np.clip(np.round(degrade(face.astype(np.float32), rng)), 0, 255).astype(np.uint8)
        restored = BASELINES[task].restore(degraded, mask, severity)
        assert restored.shape == face.shape and restored.dtype == np.uint8
        gains.append(peak_signal_noise_ratio(face, restored) - peak_signal_noise_ratio(face, degraded))
    return np.mean(gains)


def _line(length, angle):
    """A line kernel drawn by OpenCV, finer and then averaged."""
    canvas = np.zeros((29 * 8, 29 * 8), np.float32)
    reach = length * 4 * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(np.round(29 * 4 + sign * reach).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(canvas, *ends, 1.0, thickness=8)
    kernel = cv2.resize(canvas, (29, 29), interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()


def test_there_is_one_for_every_task():
    assert set(BASELINES) == set(TASKS)


def test_bicubic_is_the_input_itself(faces):
    assert BASELINES["sr"].restore(faces[0], _NONE, 4) is faces[0]


@pytest.mark.parametrize(("sigma", "least"), [(15, 3.0), (25, 4.5), (50, 6.0)])
def test_non_local_means(faces, sigma, least):
    assert _gain("noise", sigma, faces, lambda face, rng: face + rng.normal(0, sigma, face.shape)) > least


@pytest.mark.parametrize(("sigma", "least"), [(1.5, 0.8), (3, 0.8), (6, 0.4)])
def test_wiener_for_defocus(faces, sigma, least):
    def blur(face, rng):
        return cv2.GaussianBlur(face, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) + rng.normal(0, 2, face.shape)

    assert _gain("blur", sigma, faces, blur) > least


@pytest.mark.parametrize(("length", "least"), [(9, 1.0), (15, 1.0), (25, 0.4)])
def test_wiener_for_motion(faces, length, least):
    def blur(face, rng):
        return cv2.filter2D(face, -1, _line(length, rng.uniform(0, np.pi)), borderType=cv2.BORDER_REFLECT_101)

    assert _gain("motion", length, faces, blur) > least


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 170])
def test_the_direction_of_motion_is_found(faces, degrees):
    kernel = _line(15, np.radians(degrees))
    found = np.degrees(motion_angle(cv2.filter2D(faces[0], -1, kernel, borderType=cv2.BORDER_REFLECT_101)))
    assert abs((found - degrees + 90) % 180 - 90) < 10


@pytest.mark.parametrize(("quality", "least"), [(50, 0.15), (30, 0.2), (10, 0.3)])
def test_bilateral_for_jpeg(faces, quality, least):
    def compress(face, rng):
        encoded = cv2.imencode(".jpg", face.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)

    assert _gain("jpeg", quality, faces, compress) > least


@pytest.mark.parametrize(
    ("severity", "exposure", "gamma", "sigma", "least"),
    [(1, 0.6, 1.5, 2, 15), (2, 0.3, 2.5, 5, 10), (3, 0.15, 3, 10, 5)],
)
def test_low_light_is_brightened(faces, severity, exposure, gamma, sigma, least):
    def darken(face, rng):
        return 255 * exposure * (face / 255) ** gamma + rng.normal(0, sigma, face.shape)

    assert _gain("lowlight", severity, faces, darken) > least


@pytest.mark.parametrize("task", ["occlude", "facemask"])
def test_telea_fills_the_hole_and_nothing_else(faces, task):
    mask = _NONE.copy()
    mask[60:100, 40:90] = 1
    hole = mask[..., None] > 0
    assert _gain(task, 25, faces, lambda face, rng: np.where(hole, 127.5, face), mask) > 3
    degraded = np.where(hole, np.uint8(128), faces[0])
    restored = BASELINES[task].restore(degraded, mask, 25)
    np.testing.assert_array_equal(restored[mask == 0], degraded[mask == 0])


@pytest.mark.parametrize(("sigma", "noise", "least"), [(1.0, 6, -0.1), (0.3, 12, 0.5)])
def test_bilateral_helps_where_it_can_and_harms_little(faces, sigma, noise, least):
    def degrade(face, rng):
        blurred = cv2.GaussianBlur(face, (0, 0), sigma) + rng.normal(0, noise, face.shape)
        encoded = cv2.imencode(".jpg", np.clip(blurred, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)

    assert _gain("blind", 1, faces, degrade) > least


def test_parameters_scale_with_the_image():
    """The same picture at twice the size, blurred twice as far, is restored as well."""
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.uniform(0, 255, (128, 128, 3)).astype(np.float32), (0, 0), 3)
    small = cv2.normalize(small, None, 0, 255, cv2.NORM_MINMAX)
    gains = []
    for size in (128, 256):
        clean = np.round(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)).clip(0, 255).astype(np.uint8)
        degraded = cv2.GaussianBlur(clean, (0, 0), 3 * size / 128, borderType=cv2.BORDER_REFLECT_101)
        restored = BASELINES["blur"].restore(degraded, np.zeros((size, size), np.uint8), 3)
        gains.append(peak_signal_noise_ratio(clean, restored) - peak_signal_noise_ratio(clean, degraded))
    assert gains[0] > 2
    assert gains[1] == pytest.approx(gains[0], abs=1.0)
