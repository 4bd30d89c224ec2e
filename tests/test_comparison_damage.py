"""The comparison's damage is of the families it says, and what methods are told of it is the truth."""

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflax.degradations import Task
from faceflax.errors import UserError
from faceflax.evaluation.comparison import damage
from tests import faces


@pytest.fixture(scope="module")
def face():
    return faces.load(1)[0]


def test_what_happens_to_a_face_is_a_function_of_the_task_and_its_number(face):
    for task in damage.TASKS:
        first, again, other = (damage.apply(face, task, index) for index in (3, 3, 4))
        assert first.image.shape == face.shape and first.image.dtype == np.uint8
        assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
        assert not np.array_equal(first.image, face)
        if task.name not in ("sr", "jpeg"):  # which have no chance in them
            assert not np.array_equal(first.image, other.image)
        assert first.mask.any() == (task.name in ("box", "mask"))
        assert np.array_equal(first.image[first.mask == 0], face[first.mask == 0]) or not first.mask.any()


def test_noise_has_the_deviation_that_is_told():
    grey = np.full((128, 128, 3), 128, np.uint8)
    made = damage.apply(grey, Task("noise", 25), 0)
    assert made.known.sigma == 25
    assert np.std(made.image.astype(float)) == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("task", [Task("blur", 3), Task("motion", 15)])
def test_the_kernel_that_is_told_gives_the_blurred_face(face, task):
    for index in range(3):
        made = damage.apply(face, task, index)
        assert made.known.kernel.sum() == pytest.approx(1)
        blurred = cv2.filter2D(face.astype(float), -1, made.known.kernel, borderType=cv2.BORDER_REPLICATE)
        error = np.std(made.image - blurred)
        assert error == pytest.approx(np.hypot(made.known.sigma, 12**-0.5), rel=0.1)  # rounding's is 1 / sqrt(12)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.5])
def test_a_line_has_its_length_and_angle(angle):
    kernel = damage.line_kernel(15, angle)
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    moments = np.array([[np.sum(kernel * a * b) for a in (x, y)] for b in (x, y)])
    values, vectors = np.linalg.eigh(moments)
    assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) > 0.99
    assert values[1] == pytest.approx(15**2 / 12, rel=0.15)
    assert values[0] < 0.4


def test_sizes_scale_the_lengths(face):
    small = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)
    assert damage.apply(small, Task("motion", 15), 0).known.length == 7.5
    assert damage.apply(face, Task("sr", 8), 0).known.small.shape == (16, 16, 3)


def test_low_light_can_be_undone_where_it_is_bright():
    white = np.full((128, 128, 3), 255, np.uint8)
    made = damage.apply(white, Task("lowlight", 2), 0)
    exposure, gamma = made.known.light
    assert (exposure, gamma, made.known.sigma) == (0.3, 2.5, 5)
    assert np.mean(made.image) == pytest.approx(255 * 0.3, abs=0.1)


def test_jpeg_is_of_the_quality_that_is_told(face, tmp_path):
    made = damage.apply(face, Task("jpeg", 10), 0)
    cv2.imwrite(str(tmp_path / "a.jpg"), face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 10])
    other = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert cv2.PSNR(made.image, other) > 35  # OpenCV's encoder rounds otherwise, and says 4:2:0 too


@pytest.mark.parametrize("share", [10, 25, 50])
def test_a_box_has_its_area(face, share):
    covered = [damage.apply(face, Task("box", share), index).mask.mean() for index in range(5)]
    assert np.allclose(covered, share / 100, atol=0.012)


def test_a_mask_covers_the_mouth_and_leaves_the_eyes(face):
    covers = np.mean([damage.apply(face, Task("mask", 1), index).mask for index in range(20)], axis=0)
    assert covers[93, 64] == 1  # the mouth of a face aligned as FFHQ aligns them
    assert covers[60, 47] == covers[60, 81] == 0  # its eyes
    assert 0.12 < covers.mean() < 0.22


def test_blind_damage_takes_from_a_little_to_much(face):
    values = [cv2.PSNR(damage.apply(face, Task("blind", 2), index).image, face) for index in range(20)]
    assert min(values) < 22 and max(values) - min(values) > 5


def test_tasks_are_named_one_by_one_or_by_kind():
    assert damage.parse(["box", "sr 4"]) == (Task("sr", 4), Task("box", 10), Task("box", 25), Task("box", 50))
    with pytest.raises(UserError, match="'noise 15' is no task of a comparison; choose among sr 4, sr 8"):
        damage.parse(["noise 15"])
    with pytest.raises(UserError, match="nothing is no task"):
        damage.parse([])
