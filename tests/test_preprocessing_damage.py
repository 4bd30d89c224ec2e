"""Files that are damaged, cut short, too large or none at all: a sentence each, and soon."""

import re
import struct
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflax.errors import UserError
from faceflax.preprocessing import headers, images, sizes
from tests import faces
from tests.encoded import COLOUR, FILES, RNG, encode, save


def test_a_file_of_no_known_kind_is_not_read_whole(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # more than memory holds
    with pytest.raises(ValueError, match="not a JPEG"):
        sizes.claimed(path)


def test_a_file_that_memory_may_not_hold_is_not_read(tmp_path):
    path = tmp_path / "padded.png"
    path.write_bytes(FILES["png"])
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"more than the 1,000 MB that are allowed; make it smaller"):
        images.read(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_header_cut_short_is_said(kind):
    with pytest.raises(ValueError, match="damaged or cut short|not a JPEG"):
        headers.size(FILES[kind][:11])


def _jpeg_that_claims(width, height):
    encoded = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(encoded)


def _png_that_claims(width, height):
    data = bytearray(FILES["png"])
    data[16:24] = struct.pack(">II", width, height)
    return bytes(data)


LARGE = encode(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")


FLOAT = cv2.imencode(".tiff", RNG.random((8, 8, 3)).astype(np.float32))[1].tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just text\n" * 100, "not a JPEG, PNG, WebP, BMP, TIFF"),
        (LARGE[: len(LARGE) // 2], "truncated"),
        (FILES["png"][:-20], "truncated"),
        (FILES["webp"][:-20], "truncated"),
        (FILES["bmp"][:-200], "damaged or cut short"),
        (FILES["tiff"][:300], "damaged or cut short"),
        (_png_that_claims(50_000, 50_000), "50000x50000 pixels are more than the 100 million"),
        (_jpeg_that_claims(50_000, 50_000), "50000x50000 pixels are more than the 100 million"),
        (FLOAT, "float32"),
    ],
    ids=["empty", "text", "jpeg", "png", "webp", "bmp", "tiff", "bomb", "jpeg bomb", "float"],
)
def test_bad_files_are_one_sentence_with_the_path_and_what_to_do(data, reason, tmp_path):
    path = save(tmp_path, data)
    with pytest.raises(UserError, match=reason) as caught:
        images.read(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ") and "\n" not in sentence and "; " in sentence


@pytest.mark.parametrize("kind", ["jpeg", "progressive", "restarting", "with a thumbnail", "png", "palette", "webp"])
def test_what_follows_the_image_does_not_matter_and_its_end_does(kind, tmp_path):
    options = {"restarting": {"restart_marker_blocks": 1}, "with a thumbnail": {"exif": b"Exif\0\0" + FILES["jpeg"]}}
    data = FILES[kind] if kind in FILES else encode(COLOUR, "JPEG", **options[kind])
    expected = images.read(save(tmp_path, data)).pixels
    for seed in range(20):
        film = b"\xff\xd9\0\0\0\x18ftypmp42" + np.random.default_rng(seed).bytes(100_000) + b"\xff\xda"
        np.testing.assert_array_equal(images.read(save(tmp_path, data + film)).pixels, expected)
    for length in range(len(data) * 9 // 10, len(data)):
        with pytest.raises(UserError):
            images.read(save(tmp_path, data[:length]))


def test_unreadable_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        images.read(tmp_path / "missing.png")


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_damage_anywhere_in_a_container_is_one_sentence(tmp_path, kind):
    """Pillow raises what it likes there, RuntimeError and EOFError among others."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs faceflax[heic]").register_heif_opener()
    whole, refused = encode(Image.fromarray(faces.load(1)[0][:64, :64]), kind), 0
    for place in range(12, 420, 3):
        path = save(tmp_path, whole[:place] + b"\xff" + whole[place + 1 :])
        try:
            images.read(path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and re.search("damaged or cut short|million", str(error))
    assert refused > 20


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_a_file_of_several_pictures_is_refused(tmp_path, kind):
    data = encode(COLOUR, kind, save_all=True, append_images=[COLOUR.rotate(180)])
    with pytest.raises(UserError, match="holds several pages; save" if kind == "TIFF" else "is an animation"):
        images.read(save(tmp_path, data))
    assert images.read(save(tmp_path, encode(COLOUR, kind, save_all=True))).pixels.shape == (20, 31, 3)


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_a_preview_beside_a_picture_is_no_page(tmp_path, kind):
    data = encode(COLOUR, kind, save_all=True, append_images=[COLOUR.resize((8, 5))])
    assert images.read(save(tmp_path, data)).pixels.shape == (20, 31, 3)


def test_a_damaged_exif_block_is_no_reason_to_refuse(tmp_path):
    data = encode(COLOUR, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(20))
    assert images.read(save(tmp_path, data)).pixels.shape == (20, 31, 3)


@pytest.mark.parametrize("kind", ["AVIF", "CMYK"])
def test_what_pillow_reads_is_refused_when_it_is_cut_short(tmp_path, kind):
    large = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    data = encode(large, "AVIF") if kind == "AVIF" else encode(large.convert("CMYK"), "JPEG")
    path = save(tmp_path, data[: len(data) // 2])
    with pytest.raises(UserError, match="damaged|truncated"):
        images.read(path)


def _gif_cut_in_its_second_picture():
    frames = [COLOUR.convert("P"), COLOUR.convert("P").rotate(90)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return data[: data.rindex(b"!\xf9\x04") + 17]  # within what says where it lies


def _tiff_of_a_second_page_without_a_size():
    data = FILES["tiff"]
    start = int.from_bytes(data[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data += bytes(len(data) % 2)
    page = struct.pack("<HHHIII", 1, 50_000, 4, 1, 7, 0)  # a tag that nobody knows
    return data[:end] + struct.pack("<I", len(data)) + data[end + 4 :] + page


def _jpeg_of_a_lying_orientation():
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIIHHII", 2, 0x112, 5, 1, 38, 0x11A, 10, 1, 38) + bytes(4)
    return encode(COLOUR, "JPEG", exif=b"Exif\0\0" + tiff + bytes(8))


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (_gif_cut_in_its_second_picture, IndexError, "damaged or cut short"),
        (_tiff_of_a_second_page_without_a_size, TypeError, ""),  # of which OpenCV reads the first
        (_jpeg_of_a_lying_orientation, struct.error, ""),  # whose EXIF is left out
    ],
)
def test_whatever_pillow_raises_of_damage_is_a_sentence_or_no_matter(tmp_path, make, error, reason):
    path = save(tmp_path, make())
    with pytest.raises(error), Image.open(path) as image:
        image.getexif().tobytes()
        image.seek(1)
    if reason:
        with pytest.raises(UserError, match=reason):
            images.read(path)
    else:
        assert images.read(path).pixels.shape == (20, 31, 3)


def _tiff_of_pages(count):
    entries = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64)]
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    starts = [8 + number * (len(page) + 4) for number in range(1, count)] + [0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(page + struct.pack("<I", start) for start in starts)


def _gif_with(blocks):
    data = encode(COLOUR.convert("P"), "GIF")
    start = 13 + 3 * 256
    return data[:start] + blocks + data[start:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_tiff_of_pages(24_000), "several pages"),
        (_gif_with(b"!\xfe" + b"\1x" * 1_000_000 + b"\0"), "damaged"),
        (_gif_with(b"!\xfe\0" * 900_000), "damaged"),
        (_gif_with(b",\0\0\0\0\1\0\1\0\0\2" + b"\1x" * 1_000_000 + b"\0"), "damaged"),
    ],
    ids=["pages", "a long remark", "many remarks", "small blocks"],
)
def test_a_small_file_of_very_many_parts_takes_no_time(tmp_path, data, reason):
    """Pillow takes minutes, as its time grows with the square of the parts."""
    path = save(tmp_path, data)
    assert len(data) < 3_000_000
    before = time.process_time()
    with pytest.raises(UserError, match=reason):
        images.read(path)
    assert time.process_time() - before < 2


def test_what_follows_a_whole_png_takes_no_time(tmp_path):
    path = save(tmp_path, FILES["png"] + bytes(30_000_000))
    before = time.process_time()
    np.testing.assert_array_equal(images.read(path).pixels, images.decode(path, FILES["png"]).pixels)
    assert time.process_time() - before < 0.5


def test_a_gif_with_a_remark_is_read(tmp_path):
    data = encode(COLOUR.convert("P"), "GIF", comment=b"x" * 100_000)
    assert b"x" * 200 in data and images.read(save(tmp_path, data)).pixels.shape[:2] == (20, 31)
