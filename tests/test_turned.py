"""Blurred, compressed faces that are turned upright, which hides the marks of JPEG from the shipped restorers."""

import cv2
import numpy as np
import pytest

from faceflax import deblurring
from faceflax.preprocessing.alignment import align, transform
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import restorers
from tests import faces
from tests.faces import placed

SIDE = 128


def turned_upright(face, degrees):
    """Crops of a tilted face, clean and blurred and compressed as it lay, float32 [S, S, 3]."""
    placement = placed(SIDE, degrees, (128, 128))
    scene = faces.scene([(face, placement)], 256, 256)
    _, encoded = cv2.imencode(".jpg", cv2.GaussianBlur(scene, (0, 0), 2.5), [cv2.IMWRITE_JPEG_QUALITY, 40])
    place = align(transform(placement, TEMPLATE), SIDE)
    return tuple(place.crop(pixels).astype(np.float32) / 255 for pixels in (scene, cv2.imdecode(encoded, 1)))


def psnr(one, other):
    return -10 * np.log10(np.mean((one - np.clip(other, 0, 1)) ** 2))


@pytest.mark.parametrize("model", ["cnn", "tiny"])
def test_no_restorer_takes_hidden_compression_for_sharpness(model):
    restore = restorers.load(model, None, 4).restore
    for degrees in (30, 50):
        clean, damaged = map(np.stack, zip(*(turned_upright(face, degrees) for face in faces.load(4)), strict=True))
        restored = restore(damaged, np.zeros((4, SIDE, SIDE, 1), np.float32))
        before, after = (list(map(psnr, clean, images)) for images in (damaged, restored))
        assert np.min(np.subtract(after, before)) > -1 and np.mean(after) > np.mean(before) + 0.5


@pytest.mark.parametrize("kind", deblurring.KINDS)
def test_what_becomes_of_noise_is_not_plausible(kind):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(faces.load(1)[0].astype(np.float32) / 255, (0, 0), 2)
    assert deblurring.is_plausible(image, image)
    assert deblurring.is_plausible(image, image + 2 * (image - cv2.GaussianBlur(image, (0, 0), 2)))
    assert not deblurring.is_plausible(image, image + 0.1 * rng.normal(size=image.shape).astype(np.float32))
    flat = np.full_like(image, 0.5)
    assert deblurring.is_plausible(flat, deblurring.deblur(kind, flat, np.zeros((SIDE, SIDE, 1), np.float32)))
