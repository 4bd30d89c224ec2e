"""The mesh of a face: TensorFlow Lite's points, angles of turned faces, and an alignment that holds still."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from faceflax.preprocessing import detection, mesh
from faceflax.preprocessing.alignment import align, transform
from faceflax.preprocessing.landmarks import TEMPLATE
from tests import faces
from tests.faces import placed
from tests.golden import inputs

GOLDEN = json.loads((Path(__file__).parent / "golden" / "face_mesh.json").read_text())


@pytest.fixture(scope="module")
def detect():
    return faces.published(detection.load_detector)


@pytest.fixture(scope="module")
def measure():
    return faces.published(mesh.load_mesh)


def test_the_network_computes_what_tensorflow_lite_does():
    network = faces.published(mesh.load_network)
    points, score = network(cv2.resize(inputs.faces()[0], (192, 192), interpolation=cv2.INTER_CUBIC))
    np.testing.assert_allclose(points.ravel(), GOLDEN["points"], atol=0.01)
    assert score == pytest.approx(1 / (1 + np.exp(-GOLDEN["logit"])), abs=1e-4)


def test_the_mean_face_is_symmetric():
    points, other = mesh.template(), mesh.mirrored()
    np.testing.assert_array_equal(other[other], np.arange(mesh.POINTS))
    np.testing.assert_array_equal(other == np.arange(mesh.POINTS), points[:, 0] == 0.5)
    np.testing.assert_allclose(points[other] * (-1, 1, 1) + (1, 0, 0), points, atol=2e-5)
    np.testing.assert_allclose(mesh.Mesh(points, 1).five, TEMPLATE, atol=0.01)


@pytest.mark.parametrize("roll", [0, 45, 90, 180, -120])
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 0), (-50, 0), (0, 20), (0, -25), (25, 10), (-65, 30)])
def test_angles_are_those_of_the_turn_whichever_way_the_face_lies(yaw, pitch, roll):
    """Yaw towards the right of the upright face's image, pitch upwards, roll clockwise; x is right, y down, z away."""
    turn = Rotation.from_euler("ZYX", (roll, -yaw, -pitch), degrees=True).as_matrix()
    moved = 140 * mesh.template() @ turn.T + (300, 200, 0)
    np.testing.assert_allclose(mesh.Mesh(moved, 1).angles, (yaw, pitch, roll), atol=1e-6)


def test_a_face_that_lies_has_the_yaw_of_the_upright_one(detect, measure):
    """The face looks aside by 29 degrees."""
    face, angles = faces.load(1, 256)[0], []
    for degrees in (0, 45, 90, 180):
        picture = faces.scene([(face, placed(256, degrees, (200, 200)))], 400, 400)
        angles.append(measure(picture, detect(picture)[0]).angles)
    yaw, pitch, roll = np.transpose(angles)
    assert abs(yaw[0]) > 20 and np.ptp(yaw) < 2 and np.ptp(pitch) < 3
    np.testing.assert_allclose((roll - roll[0] - (0, 45, 90, 180) + 180) % 360 - 180, 0, atol=2)


def test_left_and_right_points_pair_as_the_network_has_them():
    """One bare look at a face and one at its mirror image."""
    network = faces.published(mesh.load_network)
    for face in faces.load(3, 256):
        shown = cv2.resize(face, (192, 192), interpolation=cv2.INTER_AREA)
        (points, _), (other, _) = network(shown), network(np.ascontiguousarray(shown[:, ::-1]))
        apart = np.linalg.norm(other[mesh.mirrored(), :2] * (-1, 1) + (192, 0) - points[:, :2], axis=1)
        assert apart.mean() < 0.06 * 192 * (TEMPLATE[1, 0] - TEMPLATE[0, 0])


def test_a_mirrored_photograph_has_the_mirrored_mesh(detect, measure):
    """But for what the warp rounds, within 0.03% of the distance between the eyes."""
    for number, view in enumerate(faces.load(3, 256)):
        picture = faces.scene([(view, placed(200, 20 * number - 10, (150, 140)))], 280, 320)
        (face,) = detect(picture)
        points = face.points[[1, 0, 2, 4, 3]] * (-1, 1) + (320, 0)
        box = face.box[[2, 1, 0, 3]] * (-1, 1, -1, 1) + (320, 0, 320, 0)
        one = measure(picture, face)
        other = measure(np.ascontiguousarray(picture[:, ::-1]), detection.Face(box, points, face.score))
        assert one.score > 0.99
        assert other.score == pytest.approx(one.score, abs=1e-3)
        np.testing.assert_allclose(other.angles, one.angles * np.array([-1, 1, -1]), atol=0.05)
        apart = np.linalg.norm(one.points[mesh.mirrored()] * (-1, 1, 1) + (320, 0, 0) - other.points, axis=1)
        assert apart.max() < 0.0003 * np.linalg.norm(one.five[1] - one.five[0])


def test_a_mirrored_face_that_is_found_anew_has_the_mirrored_points(detect, measure):
    for face in faces.load(3, 256):
        one, other = (measure(view, detect(view)[0]) for view in (face, np.ascontiguousarray(face[:, ::-1])))
        apart = one.five[[1, 0, 2, 4, 3]] * (-1, 1) + (256, 0) - other.five
        assert np.linalg.norm(apart, axis=1).max() < 0.005 * np.linalg.norm(one.five[1] - one.five[0])


@pytest.mark.parametrize("number", [1, 3, 6])  # of the first eight, these vary most
def test_the_alignment_does_not_depend_on_turn_and_size(detect, measure, number):
    """Turned by up to 45 degrees, at half to twice the size: within 1.6% of the distance between the eyes.

    So far is each of the five points in any pose from itself in any other; docs/measure_alignment.py prints more.
    """
    face = faces.load(8, 256)[number]
    brought_back = []
    for degrees in (-45, 0, 45):
        for scale in (0.5, 1, 2):
            placement = placed(256 * scale, degrees, (390, 390))
            picture = faces.scene([(face, placement)], 780, 780)
            (found,) = detect(picture)
            refined = mesh.refine(found, measure(picture, found))
            assert refined is not found
            inverse = np.linalg.inv(np.vstack([placement, (0, 0, 1)]))[:2]
            brought_back.append(transform(inverse, align(refined.points, 1).to_photograph(TEMPLATE)))
    apart = [np.linalg.norm(one - other, axis=1) for one, other in itertools.combinations(brought_back, 2)]
    assert np.max(apart) < 0.016 * (TEMPLATE[1, 0] - TEMPLATE[0, 0])


def test_what_is_no_face_keeps_its_points(measure):
    picture = faces.background(200, 200)
    face = detection.Face(np.array([20.0, 20, 180, 180]), 200 * TEMPLATE, 0.4)
    found = measure(picture, face)
    assert found.score < mesh.LEAST_SCORE
    assert mesh.refine(face, found) is face
    nowhere = detection.Face(face.box, np.zeros((5, 2)), 0.4)
    assert measure(picture, nowhere) is None and mesh.refine(nowhere, None) is nowhere


def test_six_faces_of_a_small_group_photograph(detect, measure):
    """Shrunk four times, to faces of about 26 pixels; two look well to the left, and one is nearly in profile."""
    picture = faces.group_photograph()
    small = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    large, few = (sorted(detect(view), key=lambda face: face.box[0]) for view in (picture, small))
    assert len(large) == len(few) == 6
    for one, other in zip(large, few, strict=True):
        one, other = measure(picture, one), measure(small, other)
        eyes = np.linalg.norm(one.five[0] - one.five[1])
        assert np.linalg.norm(4 * other.five - one.five, axis=1).mean() < 0.1 * eyes
        np.testing.assert_allclose(one.angles, other.angles, atol=6)
