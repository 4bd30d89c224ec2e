"""Faces followed through frames: numbers, smoothing, fading."""

import numpy as np
import pytest

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration.subjects import Located
from faceflax.restoration.track import OneEuro, Tracker

RATE = 25.0
RNG = np.random.default_rng(0)


def face(x, y, side=60.0, noise=0.0):
    points = np.array([x, y]) + side * TEMPLATE + RNG.normal(0, noise, (5, 2))
    return Located(Face(np.array([x, y, x + side, y + side], float), points, 0.9), None)


def test_trembling_is_smoothed_away():
    truth = 60 * TEMPLATE
    smooth = OneEuro(RATE)
    noisy = [truth + RNG.normal(0, 0.6, truth.shape) for _ in range(100)]
    smoothed = [smooth(points, 15.0) for points in noisy]
    before, after = (np.abs(np.diff(values[20:], axis=0)).mean() for values in (noisy, smoothed))
    assert after < 0.35 * before
    assert np.abs(smoothed[-1] - truth).mean() < 0.4


def test_a_moving_face_is_not_left_behind():
    smooth, speed = OneEuro(RATE), 60.0  # pixels a second: four distances of the eyes
    for frame in range(60):
        truth = 60 * TEMPLATE + (speed * frame / RATE, 0)
        shown = smooth(truth, 15.0)
    assert np.abs(shown - truth).max() < 0.07 * 15


def test_faces_keep_their_numbers_as_they_move_and_pass_by_others():
    tracker = Tracker(RATE)
    for frame in range(40):
        found = [face(10 + 3 * frame, 10), face(200, 100 + frame)]
        tracks = tracker.update(found[:: 1 if frame % 2 else -1])
        boxes = {track.number: track.box for track in tracks}
        first = 1 if boxes[1][1] == 10 else 2
        if frame == 0:
            numbers = first
        assert first == numbers and set(boxes) == {1, 2}
    assert not tracker.ended


def test_a_face_fades_in_and_out_and_those_there_from_the_start_are_whole():
    tracker = Tracker(RATE)
    assert tracker.update([face(0, 0)])[0].weight == 1
    weights = [tracker.update([face(0, 0), face(100, 0)])[1].weight for _ in range(6)]
    assert weights == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    gone = [[track.weight for track in tracker.update([face(0, 0)])] for _ in range(5)]
    assert [len(weights) for weights in gone] == [2, 2, 2, 2, 1] and gone[2][1] == pytest.approx(0.4)
    assert [(track.number, track.first, track.last, track.found) for track in tracker.ended] == [(2, 1, 6, 6)]


def test_a_face_missed_in_one_frame_stays():
    tracker = Tracker(RATE)
    for frame in range(10):
        (track,) = tracker.update([] if frame == 5 else [face(0, 0)])
        assert track.number == 1 and track.weight >= 0.8


class _Aside:
    angles = (-80.0, 0.0, 0.0)


def test_a_face_that_turns_away_fades():
    tracker = Tracker(RATE)
    tracker.update([face(0, 0)])
    weights = [[t.weight for t in tracker.update([Located(face(0, 0).face, _Aside())])] for _ in range(5)]
    assert weights == [pytest.approx([w]) for w in (0.8, 0.6, 0.4, 0.2)] + [[]]


def test_masks_change_smoothly():
    tracker = Tracker(RATE)
    (track,) = tracker.update([face(0, 0)])
    assert (track.blended_mask(np.ones((4, 4), np.float32)) == 1).all()
    changed = track.blended_mask(np.zeros((4, 4), np.float32))
    assert changed.dtype == np.float32 and (changed == 0.75).all()


class _Ahead:
    angles = (0.0, 0.0, 0.0)


def test_a_mesh_is_never_that_of_an_earlier_frame():
    tracker, mesh = Tracker(RATE), _Ahead()
    assert tracker.update([Located(face(0, 0).face, mesh)])[0].mesh is mesh
    assert tracker.update([face(15, 0)])[0].mesh is None
