"""The chain: which faces it refuses, and how it turns those that look aside."""

import json

import numpy as np
import pytest

from faceflax.preprocessing import alignment, chain, frontalise, mesh
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, write
from faceflax.preprocessing.landmarks import TEMPLATE
from tests import faces, normalizing
from tests.normalizing import FACES, normalize


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    normalizing.use_networks(monkeypatch)


def test_two_boxes_of_one_face_are_one(monkeypatch):
    """As the mesh leads both to the same points, the first, which is larger, counts."""
    points = 100 * TEMPLATE
    found = [Face(np.array([0.0, 0, 90, 90]) + shift, points + shift / 5, 0.9) for shift in (0, 25, 200)]
    monkeypatch.setattr(chain.detection, "load_detector", lambda: lambda pixels: found)
    monkeypatch.setattr(chain.mesh, "load_mesh", lambda: lambda pixels, face: None)
    made = chain.load_chain(chain.Settings(size=64))(faces.background(300, 300))
    assert [each.face for each in made] == [found[0], found[2]]


def test_faces_in_profile_are_refused_with_a_reason(tmp_path, capsys):
    settings = chain.Settings(size=64, max_yaw=40)
    points = mesh.template() * 100
    turn = np.deg2rad(55)
    turned = points @ np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]).T
    measured = mesh.Mesh(turned, 1.0)
    face = Face(np.array([0.0, 0, 90, 90]), 100 * TEMPLATE, 0.9)
    found = chain.normalise_face(FACES[0], face, measured, settings)
    assert found.pixels is None and "looks 55 degrees to a side, over 40" in found.reason
    write(tmp_path / "a.png", Photograph(FACES[0], None))  # it looks 29 degrees to a side
    assert normalize(tmp_path / "a.png", "--out", tmp_path / "out", "--max-yaw", "15") == 1
    assert "a face in profile" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "a.json").read_text())["refused"][0]["mesh"]["yaw"] > 15


def test_a_turned_face_comes_out_frontal():
    before = chain.load_chain(chain.Settings(size=128, relight=False, denoise=False))
    after = chain.load_chain(chain.Settings(size=128, relight=False, denoise=False, frontal=True))
    shown = faces.load(15, 256)
    (aside,) = after(shown[0])
    assert aside.record["frontal"]["turned"] == 0 and "to a side by 29 degrees" in aside.record["frontal"]["reason"]
    for face in [shown[number] for number in (11, 12, 14)]:
        (one,), (other,) = before(face), after(face)
        yaw = one.record["mesh"]["yaw"]
        assert abs(yaw) > 10
        assert other.record["frontal"]["turned"] == -yaw
        (again,) = before(other.pixels)
        assert abs(again.record["mesh"]["yaw"]) < 0.5 * abs(yaw)


def test_a_face_that_looks_down_too_goes_on_looking_down():
    def rotation(yaw, pitch):
        (c, s), (k, t) = ((np.cos(angle), np.sin(angle)) for angle in np.deg2rad((yaw, pitch)))
        return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ np.array([[1, 0, 0], [0, k, t], [0, -t, k]])

    both, down = (mesh.Mesh(100 * mesh.template() @ rotation(yaw, -20).T, 1.0) for yaw in (25, 0))
    np.testing.assert_allclose(both.angles, (25, -20, 0), atol=0.1)
    turned = frontalise._turned(both, down.five)
    np.testing.assert_allclose(turned, down.points[:, :2], atol=0.1)


def test_a_frontal_face_is_not_turned():
    made = Alignment(64, np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    measured = mesh.Mesh(128 * mesh.template(), 1.0)
    crop, turned = frontalise.frontalise(FACES[0], measured, made, TEMPLATE)
    assert turned == 0
    np.testing.assert_array_equal(crop, made.crop(FACES[0]))


def test_a_face_that_looks_too_far_aside_is_left_with_a_reason():
    made = Alignment(64, np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    for yaw, is_turned in ((frontalise.MOST_YAW - 1, True), (frontalise.MOST_YAW + 1, False)):
        c, s = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
        measured = mesh.Mesh(128 * mesh.template() @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]).T, 1.0)
        crop, turned = frontalise.frontalise(FACES[0], measured, made, TEMPLATE)
        assert turned == pytest.approx(-yaw if is_turned else 0)
        assert np.array_equal(crop, made.crop(FACES[0])) != is_turned
        record = frontalise.describe(measured, turned)
        assert ("reason" in record) != is_turned and record["turned"] == pytest.approx(turned)


def test_a_face_that_the_edge_cuts_off_is_refused():
    """What lies beyond the photograph would be mirrored into the crop: a second mouth below the first."""
    normalise = chain.load_chain(chain.Settings(size=64, relight=False, denoise=False))
    (picture,) = faces.load(1, 256)
    (whole,), (hardly,), (cut,) = (normalise(np.ascontiguousarray(picture[:rows])) for rows in (256, 228, 205))
    assert whole.record["mesh"]["inside"] == 1 and whole.pixels is not None
    assert 0.95 <= hardly.record["mesh"]["inside"] < 1 and hardly.pixels is not None
    assert 0.75 < cut.record["mesh"]["inside"] < 0.95
    assert cut.pixels is None and cut.record["refused"] == cut.reason
    assert cut.reason.startswith("a face that is cut off by the picture's edge; ")


def test_a_face_whose_eye_lies_beyond_the_edge_is_refused_without_a_mesh():
    face = Face(np.array([-20.0, 0, 90, 90]), 100 * TEMPLATE - (40, 0), 0.9)
    found = chain.normalise_face(FACES[0], face, None, chain.Settings(size=64))
    assert found.pixels is None and "cut off by the picture's edge" in found.reason


def test_what_lies_beyond_the_edge_is_filled_by_the_other_half():
    c, s = np.cos(np.deg2rad(15)), np.sin(np.deg2rad(15))
    points = 128 * mesh.template() @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]).T
    measured = mesh.Mesh(points, 1.0)
    made = alignment.align(measured.five, 64)
    middle = round(measured.five[2, 0])
    colours = np.where(np.arange(160)[None, :, None] < middle, np.uint8([200, 0, 0]), np.uint8([0, 0, 200]))
    picture = np.ascontiguousarray(np.broadcast_to(colours, (160, 160, 3)))
    for lost in (0, middle - 10):
        # Its left part, from which the face is seen, is cut off but for the last ten columns.
        moved = mesh.Mesh(points - (lost, 0, 0), 1.0)
        placed = Alignment(
            64, made.matrix + np.array([[0, 0, lost * made.matrix[0, 0]], [0, 0, lost * made.matrix[1, 0]]])
        )
        crop, turned = frontalise.frontalise(np.ascontiguousarray(picture[:, lost:]), moved, placed, TEMPLATE)
        assert abs(turned) > 10
        is_red = (crop[..., 0] > crop[..., 2])[20:50, 5:20]
        assert is_red.mean() > 0.95 if lost == 0 else is_red.mean() < 0.05
