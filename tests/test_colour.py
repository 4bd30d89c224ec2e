"""Colour profiles: what networks see is sRGB, and what is pasted back has the photograph's own values."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from faceflax.datasets import images as dataset_images
from faceflax.datasets.face_folder import face_folder
from faceflax.preprocessing import colour, images
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.inputs import Job
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import aligned, filling, photographs, seam, subjects
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Located
from tests import faces, profiles

ADOBE, GREY = profiles.adobe_rgb(), profiles.linear_grey()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIZE = 64
FACE = faces.load(1, SIZE)[0]


def converted(pixels, source, target):
    """By ImageCms itself; None is sRGB."""
    mode = {b"GRAY": "L"}.get((target or b"")[16:20], "RGB")
    opened = [ImageCms.createProfile("sRGB") if one is None else io.BytesIO(one) for one in (source, target)]
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), *opened, outputMode=mode))


def test_colours_are_those_of_imagecms():
    seen = colour.to_srgb(FACE, ADOBE)
    np.testing.assert_array_equal(seen, converted(FACE, ADOBE, None))
    assert np.abs(seen.astype(int) - FACE).max() > 10
    np.testing.assert_array_equal(colour.from_srgb(FACE, ADOBE), converted(FACE, None, ADOBE))
    np.testing.assert_allclose(colour.to_srgb(FACE.astype(np.float32) / 255, ADOBE), seen / np.float32(255))
    known = FACE // 2 + 64  # colours that sRGB has too
    assert np.abs(colour.from_srgb(colour.to_srgb(known, ADOBE), ADOBE).astype(int) - known).max() <= 2


def test_grey_has_profiles_too():
    grey = np.ascontiguousarray(FACE[..., 0])
    seen = images.to_srgb8(Photograph(grey, None, GREY))
    np.testing.assert_array_equal(seen, converted(grey, GREY, None))
    assert seen.mean() > grey.mean() + 20  # what is linear in light is brighter than it looks in sRGB
    back = colour.from_srgb(seen, GREY)
    assert (back == back[..., :1]).all() and np.abs(back[..., 0].astype(int) - grey).max() <= 2


@pytest.mark.parametrize("profile", [b"", SRGB, b"no profile", ADOBE[:200], SRGB[:150]])
def test_nothing_changes_without_another_profile(profile):
    assert colour.to_srgb(FACE, profile) is FACE and colour.from_srgb(FACE, profile) is FACE


def test_a_profile_of_grey_says_nothing_of_colours(tmp_path):
    Image.fromarray(FACE).save(tmp_path / "a.jpg", icc_profile=GREY)
    assert images.read(tmp_path / "a.jpg").profile == b""


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_beside_alpha_is_seen_as_without(tmp_path, dtype):
    scale = np.iinfo(dtype).max // 255
    grey, alpha = np.ascontiguousarray(FACE[..., 0]), np.full((SIZE, SIZE), 200, np.uint8)
    image = Image.fromarray(np.dstack([grey, alpha]), "LA")
    image.save(tmp_path / "in.png", icc_profile=GREY)
    if dtype == np.uint16:
        deep = np.dstack([grey.astype(">u2") * 257, alpha.astype(">u2") * 257]).astype(">u2")
        _as_16_bits(tmp_path / "in.png", deep)
    photograph = images.read(tmp_path / "in.png")
    assert photograph.pixels.dtype == photograph.alpha.dtype == dtype and (photograph.alpha == 200 * scale).all()
    expected = converted(grey, GREY, None)
    np.testing.assert_array_equal(images.to_srgb8(photograph), expected)
    images.write(tmp_path / "out.png", photograph)
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == GREY
    np.testing.assert_array_equal(images.to_srgb8(images.read(tmp_path / "out.png")), expected)


def _as_16_bits(path, values):
    """Rewrites a PNG of grey and alpha with values of 16 bits."""
    data, (height, width) = path.read_bytes(), values.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    profile = data[data.index(b"iCCP") - 4 : data.index(b"IDAT") - 4]
    head = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head), profile, _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    path.write_bytes(data[:8] + b"".join(chunks))


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_training_set_of_photographs_is_srgb():
    stream = io.BytesIO()
    Image.fromarray(FACE).save(stream, "PNG", icc_profile=ADOBE)
    kept = dataset_images.decode(face_folder.normalise(stream.getvalue()))
    np.testing.assert_array_equal(kept, converted(FACE, ADOBE, None))


def _scene(profile):
    pixels = faces.background(110, 120)
    pixels[20 : 20 + SIZE, 30 : 30 + SIZE] = FACE
    return Photograph(pixels, None, profile)


def _locate(pixels):
    corner = np.array((30.0, 20.0))
    return [Located(Face(np.concatenate([corner, corner + SIZE]), corner + SIZE * TEMPLATE, 0.9), None)]


def _restore(folder, photograph, network):
    images.write(folder / "in.png", photograph)
    failures = []
    photographs.restore_files(
        [Job(folder / "in.png", folder / "out.png", None)],
        Restorer(SIZE, network, {}),
        _locate,
        batch_size=1,
        options=photographs.Options(),
        on_failure=failures.append,
        advance=lambda: None,
    )
    assert not failures
    return images.read(folder / "out.png")


def test_a_photograph_keeps_its_colours_around_and_in_the_face(tmp_path):
    photograph = _scene(ADOBE)
    seen = []

    def network(image, mask):
        seen.append(image[0])
        return image

    result = _restore(tmp_path, photograph, network)
    assert result.profile == ADOBE
    assert np.abs(result.pixels.astype(int) - photograph.pixels).max() <= 1
    np.testing.assert_allclose(255 * seen[0], converted(FACE, ADOBE, None), atol=3)


def test_what_is_painted_in_srgb_is_the_same_colour_in_another_profile(tmp_path):
    """The network draws stripes; shown in sRGB they are as strong in a photograph of either profile."""
    stripes = 0.12 * (np.indices((SIZE, SIZE)).sum(0) // 3 % 2 - 0.5).astype(np.float32)
    stripes = stripes[..., None] * np.float32([1, -1, 0.5])
    found = {}
    for profile in (ADOBE, b""):
        (tmp_path / str(len(profile))).mkdir()
        pixels = converted(_scene(b"").pixels, None, profile) if profile else _scene(b"").pixels
        result = _restore(
            tmp_path / str(len(profile)), Photograph(pixels, None, profile), lambda image, _: image + stripes
        )
        found[profile] = images.to_srgb8(result).astype(int)
    assert np.abs(found[ADOBE] - found[b""]).max() <= 4
    assert np.abs(found[b""] - _scene(b"").pixels).max() > 10


def test_an_aligned_face_is_restored_in_srgb_and_returned_in_its_profile():
    photograph = Photograph(FACE, None, ADOBE)
    crop = aligned.prepare(photograph, None, SIZE)
    np.testing.assert_allclose(255 * crop.image, converted(FACE, ADOBE, None), atol=1e-3)
    result = aligned.finish(crop, crop.image)
    assert result.profile == ADOBE
    np.testing.assert_array_equal(result.pixels, FACE)  # colours that sRGB lacks, too


def test_a_hole_is_filled_in_the_photographs_own_values(monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    holes = np.zeros((110, 120), bool)
    holes[40:50, 50:60] = True
    (subject,) = subjects.find(_scene(ADOBE), _locate, SIZE, holes)
    after = _scene(ADOBE).pixels
    filling.fill(after, [subject.crop], [np.full((SIZE, SIZE, 3), (0, 1, 0), np.float32)], holes, 1)
    green = converted(np.full((1, 1, 3), (0, 255, 0), np.uint8), None, ADOBE)[0, 0]
    assert np.abs(after[holes].astype(int) - green).max() <= 1 and green[0] > 100
    np.testing.assert_array_equal(after[~holes], _scene(ADOBE).pixels[~holes])
