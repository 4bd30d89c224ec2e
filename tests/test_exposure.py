"""Dark faces keep their light and their contrast, and lose their noise, with the network of the package."""

import json

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import exposure, photographs, restorers
from faceflax.restoration.photographs import Options
from faceflax.restoration.subjects import Located
from faceflax.restoration.track import Tracker
from tests import faces

SIDE, PLACE = 128, 20  # of the face's square
LOCATED = [Located(Face(np.array([20.0, 20, 148, 148]), PLACE + SIDE * TEMPLATE, 0.9), None)]
INNER = np.s_[PLACE + 38 : PLACE + 115, PLACE + 32 : PLACE + 96]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def restorer():
    return restorers.load("cnn", None, 2)


def scenes():
    """Photographs of faces in good light, in [0, 255]."""
    pictures = []
    for face in faces.load(2, SIDE):
        picture = faces.background(168, 168)
        picture[PLACE : PLACE + SIDE, PLACE : PLACE + SIDE] = face
        pictures.append(picture.astype(np.float32))
    return pictures


def restored(folder, restorer, pictures):
    """What became of the pictures, and what was taken back of each."""
    made = []
    for number, picture in enumerate(pictures):
        name = f"{number}.png"
        write(folder / "in" / name, Photograph(np.round(np.clip(picture, 0, 255)).astype(np.uint8), None))
        made.append(Job(folder / "in" / name, folder / "out" / name, None))
    known = {"batch_size": 2, "options": Options(), "on_failure": pytest.fail, "advance": lambda: None}
    photographs.restore_files(made, restorer, lambda pixels: LOCATED, **known)
    reports = [json.loads(job.output.with_suffix(".json").read_text()) for job in made]
    return [read(job.output).pixels for job in made], [report["faces"][0]["taken_back"] for report in reports]


def psnr(result, truth, light):
    """In dB within the face, of the white that this light makes of white."""
    return 10 * np.log10((255 * light) ** 2 / np.mean((result[INNER] - truth[INNER]) ** 2))


@pytest.mark.parametrize("light", [0.5, 0.3])
def test_a_dark_face_without_damage_comes_out_as_it_went_in(tmp_path, restorer, light):
    dark = [light * scene for scene in scenes()]
    results, taken_back = restored(tmp_path, restorer, dark)
    assert min(taken_back) > 0.4
    assert min(psnr(*pair, light) for pair in zip(results, dark, strict=True)) > 35


def test_a_dark_face_loses_its_noise(tmp_path, restorer):
    dark = [0.3 * scene for scene in scenes()]
    noisy = [scene + RNG.normal(0, 5, scene.shape) for scene in dark]
    results, _ = restored(tmp_path, restorer, noisy)
    for result, before, truth in zip(results, noisy, dark, strict=True):
        assert psnr(result, truth, 0.3) > psnr(before, truth, 0.3) + 4


def test_the_gain_follows_the_light_of_what_counts():
    image, half = np.full((8, 8, 3), 0.2, np.float32), np.zeros((8, 8), np.float32)
    image[:, 4:], half[:, :4] = 0.9, 1
    assert exposure.gain(image, half) == pytest.approx(2.5) and exposure.gain(image, 1 - half) == 1
    assert exposure.gain(0 * image, half) == 16 and exposure.gain(image, 0 * half) == 1


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_light_goes_there_and_back(gain):
    image, missing = RNG.random((8, 8, 3)).astype(np.float32), np.zeros((8, 8, 1), np.float32)
    missing[2:4, 2:4] = 1
    image = np.where(missing > 0, np.float32(0.5), image)
    shown = exposure.brighten(image, missing, gain)
    assert (shown[2:4, 2:4] == 0.5).all() and shown.max() <= 1
    back = exposure.darken(shown, image, missing, gain)
    np.testing.assert_allclose(back, np.where(missing > 0, 0.5 / gain, image), atol=1e-6)
    if gain == 1:
        np.testing.assert_array_equal(exposure.darken(cv2.flip(image, 1), image, missing, 1.0), cv2.flip(image, 1))


def test_the_gain_of_a_film_changes_smoothly():
    (track,) = Tracker(25).update(LOCATED)
    gains = [track.steady_gain(2.0 + number % 2) for number in range(20)]
    assert gains[0] == 2 and np.abs(np.diff(gains)).max() <= 0.25 and 2.3 < gains[-1] < 2.7
