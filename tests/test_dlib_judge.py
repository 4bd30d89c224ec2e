import io
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflax.datasets.mini_faces import mini_faces
from faceflax.errors import UserError
from faceflax.evaluation.judges import dlib_judge, verification

# dlib's five landmarks, mean of 300 faces aligned as FFHQ aligns them: corners of the eyes, base of the nose.
_LANDMARKS = ((0.6696, 0.4754), (0.5721, 0.4806), (0.3272, 0.4753), (0.4251, 0.4802), (0.5012, 0.6656))


@pytest.fixture(scope="module")
def faces():
    """Six synthetic faces, uint8 [6, 128, 128, 3]."""
    with zipfile.ZipFile(mini_faces.ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[:6]
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])


@pytest.fixture
def judge(monkeypatch):
    pytest.importorskip("dlib")
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))
    try:
        return dlib_judge.DlibJudge()
    except UserError as error:
        if "SHA-256" in str(error):
            raise
        pytest.skip(str(error))


def test_the_chip_is_the_one_that_dlib_cuts_from_the_mean_face(faces):
    dlib = pytest.importorskip("dlib")
    image = np.ascontiguousarray(cv2.resize(faces[0], (512, 512), interpolation=cv2.INTER_CUBIC))
    points = [dlib.point(round(512 * x), round(512 * y)) for x, y in _LANDMARKS]
    expected = dlib.get_face_chip(image, dlib.full_object_detection(dlib.rectangle(0, 0, 511, 511), points), 150, 0.25)
    ours = dlib_judge.chip(image).astype(float)
    assert ours.shape == (150, 150, 3)
    assert np.abs(ours - expected).mean() < 3
    np.testing.assert_allclose(dlib_judge.chip(faces[0]), ours, atol=40)
    assert np.abs(dlib_judge.chip(faces[0]) - ours).mean() < 3


def test_a_lightly_damaged_face_stays_nearer_than_any_other(judge, faces):
    small = [cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA) for face in faces]
    damaged = np.stack([cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC) for face in small])
    clean, after = judge(faces), judge(damaged)
    assert clean.shape == (6, dlib_judge.DIMENSION) and clean.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(clean, axis=1), 1, rtol=1e-5)
    cosines = clean @ after.T
    assert np.diag(cosines).min() > 0.97 > cosines[~np.eye(6, dtype=bool)].max()
    assert verification(clean, after, 0.04).all()
    assert judge(faces[:0]).shape == (0, dlib_judge.DIMENSION)


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"pip install 'faceflax\[judge\]'"):
        dlib_judge.DlibJudge()


def test_people_are_compared_with_their_own_original_and_with_others():
    vectors = {1: (0.0, 0.0), 2: (2.0, 0.0), 3: (0.5, 0.0), 4: (2.9, 0.0)}
    judge = object.__new__(dlib_judge.DlibJudge)
    judge.descriptors = lambda images: np.float32([vectors[image.flat[0]] for image in images])
    originals, made = (np.uint8(numbers).reshape(2, 1, 1, 1) for numbers in ((1, 2), (3, 4)))
    found = judge.same_people(made, originals)
    assert (found.count, found.same, found.confused) == (2, 0.5, 0.0)
    assert found.distance == pytest.approx(0.7)
    swapped = judge.same_people(made[::-1], originals)
    assert (swapped.same, swapped.confused) == (0.0, 0.5)
