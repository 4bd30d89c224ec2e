"""A user's folder of photographs as a dataset."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceflax.datasets import images, registry
from faceflax.datasets.face_folder import listing
from faceflax.datasets.face_folder.face_folder import FaceFolderConfig
from faceflax.errors import UserError


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "data")


def noise(side=48):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side + 8, 3), dtype=np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "my photographs"
    (folder / "deep" / "er").mkdir(parents=True)
    upright = Image.Exif()
    upright[274] = 6  # a quarter turn
    files = {
        "a.JPG": encoded(noise(), "JPEG", quality=95),
        "deep/b.png": encoded(noise(), "PNG"),
        "deep/er/c.webp": encoded(noise(), "WEBP", lossless=True),
        "grey.png": encoded(noise().convert("L"), "PNG"),
        "alpha.PNG": encoded(noise().convert("RGBA"), "PNG"),
        "deep.png": encoded(Image.fromarray(np.asarray(noise().convert("L")).astype(np.uint16) * 257), "PNG"),
        "turned.jpeg": encoded(noise(), "JPEG", exif=upright, quality=95),
        "progressive.jpg": encoded(noise(), "JPEG", progressive=True),
        "tiny.png": encoded(noise(16), "PNG"),
        "cut.jpg": encoded(noise(), "JPEG")[:-900],
        "cut-progressive.jpg": encoded(noise(), "JPEG", progressive=True)[:-900],
        "cut.png": encoded(noise(), "PNG")[:-900],
        "cut.webp": encoded(noise(), "WEBP")[:-500],
        "empty.jpg": b"",
        "text.png": b"hello",
        ".hidden.png": encoded(noise(), "PNG"),
        "notes.txt": b"hello",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def build_folder(folder, place):
    return registry.build(registry.builder("face_folder", data_dir=place, config=FaceFolderConfig(folder=folder)))


def read_folder(folder, place):
    source = registry.load("face_folder", "all", data_dir=place, folder=str(folder))
    return {source[i]["name"].decode(): images.decode(source[i]["image"]) for i in range(len(source))}


def test_a_folder_of_all_kinds_of_files_is_read_as_pillow_reads_it(photographs, place):
    build_folder(photographs, place)
    found = read_folder(photographs, place)
    for name in ("a.JPG", "deep/b.png", "deep/er/c.webp", "grey.png", "alpha.PNG", "turned.jpeg", "progressive.jpg"):
        expected = ImageOps.exif_transpose(Image.open(photographs / name)).convert("RGB")
        np.testing.assert_allclose(found[name].astype(int), np.asarray(expected), atol=2 if "j" in name.lower() else 0)
    np.testing.assert_array_equal(found["deep.png"], np.repeat(np.asarray(noise().convert("L"))[..., None], 3, axis=2))
    assert found["turned.jpeg"].shape == (56, 48, 3)
    assert len(found) == 8


def test_what_was_skipped_is_listed_with_its_reason(photographs, place):
    dataset = build_folder(photographs, place)
    lines = (Path(dataset.data_dir) / "skipped.txt").read_text().splitlines()
    reasons = dict(line.split(": ", 1) for line in lines)
    truncated = {"cut.jpg", "cut-progressive.jpg", "cut.png", "cut.webp"}
    assert set(reasons) == truncated | {"tiny.png", "empty.jpg", "text.png"}
    assert all("truncated" in reasons[name] for name in truncated)


def test_a_changed_folder_is_not_read_from_its_old_build(photographs, place):
    with pytest.raises(UserError, match="no dataset was built"):
        read_folder(photographs, place)
    build_folder(photographs, place)
    before = registry.load("face_folder", "train", data_dir=place, folder=str(photographs)).fingerprint
    (photographs / "new.png").write_bytes(encoded(noise(40), "PNG"))
    with pytest.raises(UserError, match="changed since"):
        read_folder(photographs, place)
    build_folder(photographs, place)
    assert "new.png" in read_folder(photographs, place)
    assert registry.load("face_folder", "train", data_dir=place, folder=str(photographs)).fingerprint != before


def test_the_fingerprint_of_a_folder_is_that_of_its_photographs(photographs, place, tmp_path):
    copy = shutil.copytree(photographs, tmp_path / "elsewhere")
    for folder in (photographs, copy):
        build_folder(folder, place)
    first, second = (registry.load("face_folder", "train", data_dir=place, folder=str(f)) for f in (photographs, copy))
    assert first.fingerprint == second.fingerprint


def test_the_split_of_a_photograph_depends_on_its_path_alone():
    splits = [listing.split_of(f"people/{i}.jpg") for i in range(4000)]
    shares = [splits.count(split) / 4000 for split in ("train", "validation", "test")]
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.02)
    assert listing.split_of("people/7.jpg") == splits[7]


def test_bad_folders_are_refused(tmp_path, place):
    with pytest.raises(UserError, match="not a folder"):
        FaceFolderConfig(folder=tmp_path / "nowhere")
    with pytest.raises(UserError, match="no photograph"):
        FaceFolderConfig(folder=tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"none of the photographs.*bad\.jpg"):
        build_folder(tmp_path, place)
