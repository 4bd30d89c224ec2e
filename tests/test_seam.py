"""What fills a hole meets its surroundings, at no price for what is known."""

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import aligned, filling, restorers, seam, subjects
from faceflax.restoration.subjects import Located
from tests import faces

SIDE = 200  # of the photographs, each of which a face fills
RNG = np.random.default_rng(0)


def box(side):
    hole = np.zeros((side, side), bool)
    hole[side // 2 : 4 * side // 5, side // 4 : 3 * side // 5] = True
    return hole


def jump(pixels, hole):
    """The mean step between neighbours of which one is in the hole."""
    steps = [np.abs(np.diff(pixels.astype(float), axis=axis))[np.diff(hole, axis=axis)] for axis in (0, 1)]
    return np.concatenate(steps).mean()


def error(pixels, truth, hole):
    return np.mean((pixels[hole].astype(float) - truth[hole]) ** 2)


@pytest.fixture(scope="module")
def restorer():
    return restorers.load("cnn", None, 1)


def of_a_photograph(restorer, photograph, hole):
    face = Located(Face(np.array([0.0, 0, SIDE, SIDE]), SIDE * TEMPLATE, 0.9), None)
    (subject,) = subjects.find(photograph, lambda pixels: [face], restorer.size, hole)
    crop, result = subject.crop, photograph.pixels.copy()
    restored = crop.in_own_light(restorer.restore(crop.shown[None], crop.missing[None])[0])
    filling.fill(result, [crop], [restored], hole, 1)
    return result


def of_a_crop(restorer, photograph, hole):
    prepared = aligned.prepare(photograph, hole, restorer.size)
    return aligned.finish(prepared, restorer.restore(prepared.image[None], prepared.mask[None])[0]).pixels


@pytest.mark.parametrize("fill", [of_a_photograph, of_a_crop])
def test_no_seam_shows_and_known_pixels_are_kept(restorer, monkeypatch, fill):
    hole, jumps = box(SIDE), []
    for clean in faces.load(4, SIDE):
        covered = clean.copy()
        covered[hole] = 255
        result = fill(restorer, Photograph(covered, None), hole)
        np.testing.assert_array_equal(result[~hole], clean[~hole])
        with monkeypatch.context() as patch:
            patch.setattr(seam, "meet", lambda fill, *_: fill)
            plain = fill(restorer, Photograph(covered, None), hole)
        assert error(result, clean, hole) < 1.02 * error(plain, clean, hole)
        jumps.append([jump(pixels, hole) for pixels in (clean, result, plain)])
    clean, ours, plain = np.mean(jumps, axis=0)
    assert ours < 1.5 * clean and ours < 0.85 * plain


def test_a_step_is_taken_out_of_all_of_the_hole():
    around, hole = np.full((60, 60, 3), 0.4, np.float32), box(60)
    filled = seam.meet(around + np.float32([0.1, -0.2, 0]), around, hole, ~hole)
    np.testing.assert_allclose(filled[hole], around[hole], atol=1e-5)


def test_a_slope_goes_on_into_the_hole():
    slope = np.linspace(0, 0.6, 60, dtype=np.float32)[None, :, None] * np.ones((60, 1, 1), np.float32)
    hole = box(60)
    filled = seam.meet(np.zeros_like(slope), slope, hole, ~hole)
    assert np.abs(filled - slope)[hole].max() < 0.05


def test_the_colour_of_a_hole_that_soiled_its_rim_is_not_taken_in():
    around, hole = np.full((60, 60, 3), 0.4, np.float32), box(60)
    soiled = around.copy()
    soiled[cv2.dilate(hole.astype(np.uint8), np.ones((3, 3))) > 0] = (0.6, 0.3, 0.6)
    filled = seam.meet(around, soiled, hole, ~hole)
    np.testing.assert_allclose(filled[hole], around[hole], atol=1e-5)


@pytest.mark.parametrize("is_whole", [True, False])
def test_without_surroundings_or_without_a_hole_nothing_is_changed(is_whole):
    fill, hole = RNG.random((9, 7, 1)).astype(np.float32), np.full((9, 7), is_whole)
    np.testing.assert_array_equal(seam.meet(fill, np.zeros_like(fill), hole, ~hole), fill)
