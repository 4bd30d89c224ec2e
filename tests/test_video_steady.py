"""Faces in videos do not flicker, and memory does not grow with a film."""

import contextlib
import fractions
import gc
import weakref
from unittest import mock

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import film, subjects, video
from faceflax.restoration.subjects import Located
from tests.films import SIDE, corner, locator, record, restore


@pytest.fixture
def in_turn(monkeypatch):
    """One thread searches, so that a locator can count the frames."""
    monkeypatch.setattr(video.os, "cpu_count", lambda: 1)


def flicker(path):
    """How much a face at rest changes from frame to frame."""
    x, y = corner(0).astype(int) + SIDE // 4
    shown = np.stack(list(film.probe(path).frames())).astype(float)
    return np.abs(np.diff(shown[:, y : y + SIDE // 2, x : x + SIDE // 2], axis=0)).mean()


def test_a_face_does_not_flicker(tmp_path, in_turn, monkeypatch):
    record(tmp_path / "in.mp4", speed=0)
    rng = np.random.default_rng(1)

    def restless(image, mask):  # sharpens, and differs a little each time
        sharp = image + 0.8 * (image - np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in image]))
        return sharp + rng.normal(0, 0.02, image.shape).astype(np.float32)

    restore(tmp_path / "in.mp4", tmp_path / "steady.mp4", locator(0.5, speed=0), restless)
    monkeypatch.setattr(video._Steady, "__call__", lambda self, track, restored: restored)
    monkeypatch.setattr("faceflax.restoration.track.OneEuro.__call__", lambda self, points, unit: points)
    restore(tmp_path / "in.mp4", tmp_path / "restless.mp4", locator(0.5, speed=0), restless)
    steady, without = (flicker(tmp_path / f"{name}.mp4") for name in ("steady", "restless"))
    assert steady < 0.75 * without


def test_what_is_taken_back_does_not_jump_from_frame_to_frame():
    steady, track = video._Steady(), mock.Mock(number=1)
    shares = [steady.spare(track, float(number % 2)) for number in range(20)]
    assert np.abs(np.diff(shares)).max() <= 0.25 and 0.3 < shares[-1] < 0.7
    assert steady.taken_back(1) == pytest.approx(np.mean(shares))
    steady.forget_all_but([])
    assert steady.spare(track, 1.0) == 1


@pytest.mark.parametrize("frames", [60, 240])
def test_memory_does_not_grow_with_the_film(tmp_path, monkeypatch, frames):
    """Each face is there for ten frames; crops and meshes are held of a bounded number of them."""
    crops, meshes = weakref.WeakSet(), weakref.WeakSet()
    cut, most, shown = subjects.cut, [], iter(range(frames))

    class Long(film.Film):
        def frames(self):
            for number in range(frames):
                yield np.full((96, 128, 3), number % 256, np.uint8)

    def kept(*arguments):
        crop = cut(*arguments)
        crops.add(crop)
        return crop

    def locate(pixels):
        number = next(shown)
        place = np.array([80.0 * (number // 10 % 2), 20.0])
        mesh = _Mesh(np.hstack([place + SIDE * np.random.default_rng(0).random((468, 2)), np.zeros((468, 1))]))
        meshes.add(mesh)
        most.append((len(crops), len(meshes)))
        return [Located(Face(np.concatenate([place, place + SIDE]), place + SIDE * TEMPLATE, 0.9), mesh)]

    @contextlib.contextmanager
    def nowhere(*_):
        yield mock.Mock()

    monkeypatch.setattr(video.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(video, "_MOST_PIXELS", 12 * 96 * 128)
    monkeypatch.setattr(film, "probe", lambda path: Long(path, (96, 128), fractions.Fraction(25)))
    monkeypatch.setattr(film, "writing", nowhere)
    monkeypatch.setattr(subjects, "cut", kept)
    count, num_faces = restore(tmp_path / "in.mp4", tmp_path / "out.mp4", locate)
    assert (count, num_faces) == (frames, frames // 10)
    gc.collect()
    assert max(number for number, _ in most) <= 60 and max(number for _, number in most) <= 30
    assert len(meshes) <= 2 and not crops


class _Mesh:
    angles = (0.0, 0.0, 0.0)

    def __init__(self, points):
        self.points = points
