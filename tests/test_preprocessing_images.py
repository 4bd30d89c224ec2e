"""Files of all kinds, against Pillow as the reference."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, TiffTags

from faceflax.errors import UserError
from faceflax.preprocessing import headers, images, sizes
from faceflax.preprocessing.images import Photograph
from tests import faces
from tests.encoded import COLOUR, FILES, RGBA, RNG, encode, save


@pytest.mark.parametrize("kind", FILES)
def test_size_by_header(kind):
    assert headers.size(FILES[kind]) == (31, 20)


@pytest.mark.parametrize("kind", [*FILES, "AVIF", "HEIF", "CMYK", "metadata", "large TIFF"])
def test_claimed_size_of_all_that_is_read(kind, tmp_path):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs faceflax[heic]").register_heif_opener()
    large = Image.fromarray(RNG.integers(0, 256, (400, 620, 3), np.uint8))
    made = {
        "AVIF": lambda: encode(large, "AVIF"),
        "HEIF": lambda: encode(large, "HEIF"),
        "CMYK": lambda: encode(large.convert("CMYK"), "JPEG"),
        "metadata": lambda: encode(large, "JPEG", icc_profile=bytes(400_000)),
        "large TIFF": lambda: cv2.imencode(".tiff", np.asarray(large))[1].tobytes(),
    }
    path = save(tmp_path, FILES[kind] if kind in FILES else made[kind]())
    assert sizes.claimed(path) == ((31, 20) if kind in FILES else (620, 400)) == images.read(path).pixels.shape[1::-1]


def test_big_endian_tiff_header():
    entries = struct.pack(">HHHIHHHHII", 2, 256, 3, 1, 640, 0, 257, 4, 1, 480)
    assert headers.size(b"MM\0*" + struct.pack(">I", 8) + entries) == (640, 480)


@pytest.mark.parametrize("kind", ["png", "palette", "lossless webp", "bmp", "tiff", "packed tiff"])
def test_lossless_colour(kind, tmp_path):
    photograph = images.read(save(tmp_path, FILES[kind]))
    expected = np.asarray(Image.open(io.BytesIO(FILES[kind])).convert("RGB"))
    np.testing.assert_array_equal(photograph.pixels, expected)
    assert photograph.alpha is None


@pytest.mark.parametrize(("picture", "times"), [(COLOUR, 1), (Image.fromarray(RGBA), 2)])
def test_a_png_is_decoded_once_and_once_more_for_its_alpha(picture, times, tmp_path, monkeypatch):
    path, decoded, imdecode = save(tmp_path, encode(picture, "PNG")), [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(1) or imdecode(*arguments))
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("Pillow decodes it too"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("Pillow decodes it too"))
    assert images.read(path).pixels.shape == (20, 31, 3)
    assert len(decoded) == times


def test_a_transparent_colour_of_a_png_is_alpha(tmp_path):
    data = encode(Image.fromarray(np.uint8([[[1, 2, 3], [200, 100, 0]]])), "PNG", transparency=(1, 2, 3))
    np.testing.assert_array_equal(images.read(save(tmp_path, data)).alpha, [[0, 255]])


def _grey_png(values, depth, clear):
    """A PNG of grey in which one value is transparent (PNG specification, third edition, 11.3.1)."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    bits = (values[..., None] >> np.arange(depth)[::-1] & 1).astype(np.uint8).reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    body = chunk(b"tRNS", struct.pack(">H", clear)) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_a_png_is_alpha(depth, tmp_path):
    values, clear = np.arange(16).reshape(4, 4) % 2**depth, 5 % 2**depth
    photograph = images.read(save(tmp_path, _grey_png(values, depth, clear)))
    np.testing.assert_array_equal(photograph.pixels, values * (1 if depth == 16 else 255 // (2**depth - 1)))
    np.testing.assert_array_equal(photograph.alpha == 0, values == clear)
    assert photograph.alpha.dtype == photograph.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    again = images.read(save(tmp_path, images.encode(photograph).tobytes(), "again.png"))
    np.testing.assert_array_equal(again.pixels, photograph.pixels)
    np.testing.assert_array_equal(again.alpha, photograph.alpha)


def test_a_transparent_grey_lies_where_its_pixels_are_turned_to(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    data = encode(Image.fromarray(np.uint8([[1, 2, 2]])), "PNG", exif=exif, transparency=1)
    np.testing.assert_array_equal(images.read(save(tmp_path, data)).alpha, [[0], [255], [255]])


def test_exif_behind_the_pixels_of_a_png_is_kept(tmp_path):
    exif = Image.Exif()
    exif[0x10F] = "maker"
    data = encode(COLOUR, "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert late.index(b"eXIf") > late.index(b"IDAT")
    assert b"maker" in images.read(save(tmp_path, late)).exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_orientation_turns_colour_and_alpha(orientation, kind, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(RGBA), kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    photograph = images.read(save(tmp_path, data))
    np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
    np.testing.assert_array_equal(photograph.alpha, expected[..., 3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("width", [31, 20])
def test_alpha_of_one_colour_is_turned_as_exif_says(orientation, width, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    plain = np.dstack([np.full((20, width, 3), 7, np.uint8), RGBA[:, :width, 3]])
    data = encode(Image.fromarray(plain), "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(images.read(save(tmp_path, data)).alpha, expected[..., 3])


def test_jpeg_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    data = encode(COLOUR, "JPEG", exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).astype(int)
    pixels = images.read(save(tmp_path, data)).pixels
    assert pixels.shape == (31, 20, 3)
    assert np.abs(pixels - expected).max() <= 4  # decoders differ in rounding


@pytest.mark.parametrize(
    ("shape", "dtype", "has_alpha"),
    [
        ((9, 7), np.uint8, False),
        ((9, 7), np.uint16, False),
        ((9, 7, 3), np.uint16, False),
        ((9, 7), np.uint8, True),
        ((9, 7), np.uint16, True),
        ((9, 7, 3), np.uint8, True),
        ((9, 7, 3), np.uint16, True),
    ],
)
def test_depth_and_channels_survive(shape, dtype, has_alpha, tmp_path):
    high = np.iinfo(dtype).max + 1
    alpha = RNG.integers(0, high, shape[:2], dtype) if has_alpha else None
    photograph = Photograph(RNG.integers(0, high, shape, dtype), alpha)
    images.write(tmp_path / "a.png", photograph)
    again = images.read(tmp_path / "a.png")
    np.testing.assert_array_equal(again.pixels, photograph.pixels)
    assert again.pixels.dtype == dtype and again.pixels.shape == shape
    assert (again.alpha is None) == (alpha is None)
    if has_alpha:
        np.testing.assert_array_equal(again.alpha, alpha)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (7, 9)


def test_written_colours_are_rgb(tmp_path):
    images.write(tmp_path / "a.png", Photograph(RGBA[..., :3], RGBA[..., 3]))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), RGBA)


def test_masks_any_value_over_zero_is_missing(tmp_path):
    grey = np.zeros((4, 5), np.uint8)
    grey[1, 2], grey[3, 3] = 1, 255
    blue = np.zeros((4, 5, 3), np.uint8)
    blue[..., 2] = grey
    deep = grey.astype(np.uint16)
    for array in (grey, blue, deep):
        mask = images.read_mask(save(tmp_path, encode(Image.fromarray(array), "PNG")), (4, 5))
        np.testing.assert_array_equal(mask, grey > 0)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_what_a_lossy_mask_spreads_around_a_line_is_not_missing(tmp_path, kind):
    drawn = cv2.line(np.zeros((120, 160), np.uint8), (15, 15), (150, 75), 1, 3)
    encoded = encode(Image.fromarray(255 * drawn).convert("RGB"), kind, quality=75)
    assert (images.decode(tmp_path, encoded).pixels > 0).any(axis=2).sum() > 1.9 * drawn.sum()
    missing = images.read_mask(save(tmp_path, encoded), drawn.shape)
    assert missing[drawn > 0].all() and missing.sum() < 1.15 * drawn.sum()


def test_a_lossy_mask_of_zeros_and_ones_is_whole(tmp_path):
    drawn = np.zeros((64, 64), np.uint8)
    drawn[16:40, 24:48] = 1
    path = save(tmp_path, encode(Image.fromarray(drawn), "JPEG", quality=75))
    np.testing.assert_array_equal(images.read_mask(path, drawn.shape), drawn > 0)


def test_what_is_faint_in_a_mask_without_loss_is_missing(tmp_path):
    drawing = np.zeros((16, 16), np.uint8)
    drawing[2:4], drawing[8:10] = 255, 1
    for kind in ("PNG", "WEBP"):
        encoded = encode(Image.fromarray(drawing).convert("RGB"), kind, lossless=True)
        np.testing.assert_array_equal(images.read_mask(save(tmp_path, encoded), drawing.shape), drawing > 0)


def test_transparent_parts_of_a_mask_are_known(tmp_path):
    strokes = np.full((4, 5, 4), 255, np.uint8)
    strokes[:2, :, 3] = 0
    mask = images.read_mask(save(tmp_path, encode(Image.fromarray(strokes), "PNG")), (4, 5))
    np.testing.assert_array_equal(mask, strokes[..., 3] > 0)


def test_a_mask_of_another_size(tmp_path):
    path = save(tmp_path, FILES["png"])
    with pytest.raises(UserError, match="the mask is 31x20 but its image is 20x31"):
        images.read_mask(path, (31, 20))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_avif_is_read(tmp_path):
    data = encode(Image.fromarray(RGBA), "AVIF", quality=100)
    photograph = images.read(save(tmp_path, data))
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
    np.testing.assert_array_equal(photograph.alpha, expected[..., 3])


def test_heic_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="needs faceflax[heic]")
    heif.register_heif_opener()
    data = encode(Image.fromarray(faces.load(1)[0]), "HEIF", quality=95)
    pixels = images.read(save(tmp_path, data)).pixels.astype(int)
    assert np.abs(pixels - faces.load(1)[0]).mean() < 3


def test_gif_is_read(tmp_path):
    palette = COLOUR.convert("P", palette=Image.Palette.ADAPTIVE)
    data = encode(palette, "GIF")
    photograph = images.read(save(tmp_path, data))
    np.testing.assert_array_equal(photograph.pixels, np.asarray(palette.convert("RGB")))
    assert photograph.alpha is None and sizes.claimed(tmp_path / "photo") == (31, 20)
    grey = Image.fromarray(RGBA[..., 0])
    np.testing.assert_array_equal(images.read(save(tmp_path, encode(grey, "GIF"))).pixels, RGBA[..., 0])
    clear = encode(palette, "GIF", transparency=palette.getpixel((3, 2)))
    alpha = images.read(save(tmp_path, clear)).alpha
    assert alpha[2, 3] == 0 < alpha.max()
    with pytest.raises(UserError, match="damaged or cut short"):
        images.read(save(tmp_path, data[:200]))


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "CMYK"), ("TIFF", "CMYK"), ("TIFF", "LAB")])
def test_cmyk_and_lab_are_read_as_pillow_does(tmp_path, kind, mode):
    face = Image.fromarray(faces.load(1)[0])
    data = encode(face.convert(mode), kind, **({"quality": 98} if kind == "JPEG" else {}))
    photograph = images.read(save(tmp_path, data))
    assert photograph.pixels.shape == (128, 128, 3) and photograph.alpha is None
    assert np.abs(photograph.pixels.astype(int) - np.asarray(face)).mean() < 3
    assert sizes.claimed(tmp_path / "photo") == (128, 128)


@pytest.mark.parametrize("mode", ["CMYK", "LA"])
def test_a_tiff_that_pillow_reads_is_turned_once(tmp_path, mode):
    exif = Image.Exif()
    exif[0x112] = 6
    picture = COLOUR.convert(mode)
    photograph = images.read(save(tmp_path, encode(picture, "TIFF", exif=exif)))
    expected = np.rot90(np.asarray(picture.convert("RGB")), -1)
    np.testing.assert_array_equal(images.to_srgb8(photograph), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_beside_alpha_stays_grey(tmp_path, kind):
    exif = Image.Exif()
    exif[0x10F] = "some maker"
    data = encode(Image.fromarray(RGBA[..., 2:], "LA"), kind, exif=exif)
    photograph = images.read(save(tmp_path, data))
    images.write(tmp_path / "out.png", photograph)
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "LA" and written.getexif()[0x10F] == "some maker"
        np.testing.assert_array_equal(np.asarray(written), RGBA[..., 2:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_profile_and_exif_come_out_again(tmp_path, kind):
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "some maker", 3
    exif.get_ifd(0x8769).update({0xA002: 31, 0xA003: 20, 0x9003: "2026:01:02 03:04:05"})
    exif[0x8769] = exif.get_ifd(0x8769)
    data = encode(COLOUR, kind, exif=exif, icc_profile=SRGB)
    photograph = images.read(save(tmp_path, data))
    assert photograph.profile == SRGB
    images.write(tmp_path / "out.png", photograph)
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == SRGB
        tags = written.getexif()
        details = tags.get_ifd(0x8769)
    assert tags[0x10F] == "some maker" and tags[0x112] == 1
    assert details == {0x9003: "2026:01:02 03:04:05"}  # and no size, which the result may not have
    again = images.read(tmp_path / "out.png")
    np.testing.assert_array_equal(again.pixels, photograph.pixels)  # not turned a second time
    assert again.exif and again.profile == SRGB


@pytest.mark.parametrize("compression", ["raw", "jpeg", "tiff_lzw"])
def test_how_a_tiff_stored_its_pixels_is_not_said_of_the_result(tmp_path, compression):
    profile = SRGB if compression == "raw" else None
    data = encode(COLOUR, "TIFF", compression=compression, software="some program", icc_profile=profile)
    (tmp_path / "a.tif").write_bytes(data)
    images.write(tmp_path / "a.png", images.read(tmp_path / "a.tif"))
    with Image.open(tmp_path / "a.png") as written:
        assert {TiffTags.lookup(tag).name for tag in written.getexif()} == {"Software", "Orientation"}
        assert written.getexif()[0x131] == "some program"
    (tmp_path / "b.tif").write_bytes(encode(COLOUR, "TIFF", compression=compression))
    assert images.read(tmp_path / "b.tif").exif == b""


@pytest.mark.parametrize(
    "pixels", [np.full((5, 7), 300, np.uint16), np.full((5, 7, 3), 65535, np.uint16), np.full((5, 7), 9, np.uint8)]
)
def test_any_depth_becomes_eight_bits_of_three_channels(pixels):
    found = images.to_srgb8(Photograph(pixels, None))
    assert found.shape == (5, 7, 3) and found.dtype == np.uint8
    assert (found == round(int(pixels.flat[0]) * 255 / np.iinfo(pixels.dtype).max)).all()


def test_sixteen_bits_become_eight_exactly_and_without_a_large_copy():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(images.to_srgb8(Photograph(values, None))[..., 0], np.round(values / 257))
    large = np.zeros((1000, 1000, 3), np.uint16)
    tracemalloc.start()
    try:
        images.to_srgb8(Photograph(large, None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.9 * large.size < peak < 1.5 * large.size  # bytes: the result and little else
