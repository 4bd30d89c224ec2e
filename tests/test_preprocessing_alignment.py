"""The crop of a face and the way back, against scikit-image and against what geometry says."""

import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from faceflax.preprocessing import alignment
from faceflax.preprocessing.alignment import TEMPLATES, align
from tests import faces

RNG = np.random.default_rng(0)


def similarity(scale, degrees, shift):
    return SimilarityTransform(scale=scale, rotation=np.deg2rad(degrees), translation=shift)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_matrix_is_scikit_images(template):
    points = similarity(300, 25, (500, 90))(TEMPLATES[template]) + RNG.normal(0, 5, (5, 2))
    expected = SimilarityTransform.from_estimate(128 * TEMPLATES[template], points)
    made = align(points, 128, template)
    np.testing.assert_allclose(made.inverse, expected.params[:2], atol=1e-8)
    np.testing.assert_allclose(made.matrix, np.linalg.inv(expected.params)[:2], atol=1e-8)


def test_points_go_there_and_back():
    made = align(similarity(2000, -120, (900, 4000))(TEMPLATES["ffhq"]), 256)
    points = RNG.uniform(0, 4000, (50, 2))
    np.testing.assert_allclose(made.to_photograph(made.to_crop(points)), points, atol=1e-8)
    np.testing.assert_allclose(made.to_crop(points[0]), made.to_crop(points)[0])


@pytest.mark.parametrize("degrees", [0, 33, 170])
@pytest.mark.parametrize("scale", [0.5, 1, 3.7])
def test_a_round_trip_moves_no_pixel_by_a_quarter_of_a_pixel(degrees, scale):
    """A picture whose values are its coordinates, cropped and brought back."""
    height, width = 300, 400
    coordinates = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32) + 0.5
    turned = similarity(scale, degrees, (0, 0)).params[:2]
    turned[:, 2] = 100 - turned[:, :2] @ (200, 150)
    made = alignment.Alignment(200, turned)
    back = alignment.warp(made.crop(coordinates), made.inverse, (height, width))
    inner = alignment.transform(made.matrix, coordinates.astype(np.float64))
    margin = 8 * max(1, scale)
    is_inside = ((inner > margin) & (inner < 200 - margin)).all(axis=2)
    is_inside &= ((coordinates > 16) & (coordinates < (width - 16, height - 16))).all(axis=2)
    assert is_inside.sum() > 500
    assert np.abs(back - coordinates)[is_inside].max() < 0.25


def test_the_crop_lies_where_opencv_resizes_to():
    (face,) = faces.load(1, 256)
    made = alignment.Alignment(64, np.array([[0.25, 0, 0], [0, 0.25, 0]]))
    expected = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(made.crop(face) - expected).mean() < 2
    same = alignment.Alignment(256, np.eye(2, 3))
    np.testing.assert_array_equal(same.crop(face), face)


@pytest.mark.parametrize("step", [1.6, 2.3, 5, 17.3])
def test_shrinking_does_not_alias(step):
    """Stripes finer than the result can show come out grey."""
    side = int(64 * step)
    stripes = np.zeros((side, side), np.uint8)
    stripes[:, ::2] = 255
    crop = alignment.Alignment(64, np.array([[1 / step, 0, 0], [0, 1 / step, 0]])).crop(stripes)
    assert np.ptp(crop[4:-4, 4:-4].astype(int)) < 64  # of 255
    assert crop.mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_types_stay(dtype, channels):
    pixels = RNG.integers(0, 200, (40, 50, *channels)).astype(dtype)
    crop = alignment.Alignment(16, np.array([[0.3, 0.1, 0], [-0.1, 0.3, 4]])).crop(pixels)
    assert crop.dtype == dtype and crop.shape[:2] == (16, 16)


def test_what_lies_outside_is_mirrored_as_of_the_whole_picture():
    """Only the needed part of a large picture is touched, and nobody can tell."""
    pixels = RNG.integers(0, 256, (90, 700, 3), np.uint8)
    for shift in ((20, 30), (-600, 10), (30, -50), (-40, 60)):
        matrix = np.array([[0.9, 0.1, shift[0]], [-0.1, 0.9, shift[1]]])
        plain = matrix.copy()
        plain[:, 2] += 0.5 * plain[:, 0] + 0.5 * plain[:, 1] - 0.5
        step = 1 / np.sqrt(np.linalg.det(matrix[:, :2]))
        blurred = cv2.GaussianBlur(pixels, (0, 0), 0.55 * np.sqrt(step**2 - 1) + 1e-3)
        options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
        expected = cv2.warpAffine(blurred, plain, (100, 100), **options).astype(int)
        made = alignment.Alignment(100, matrix).crop(pixels)
        assert np.abs(made - expected).max() <= 2


def test_points_of_no_face_are_refused():
    with pytest.raises(ValueError, match="left eye, right eye"):
        align(TEMPLATES["ffhq"] * (-1, 1), 64)
