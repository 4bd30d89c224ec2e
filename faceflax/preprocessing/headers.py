"""What an encoded image tells before it is decoded: the size that its header claims, and whether its end is there."""

import itertools
import re
import struct
import zlib
from collections.abc import Iterator

EMPTY, DAMAGED, DAMAGED_HEADER = (
    f"{what}; copy it again from where it came"
    for what in ("the file is empty", "the file is damaged or cut short", "its header is damaged or cut short")
)
"""What is said of a file of which nothing can be made."""

PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZED = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers; the three are tables
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
# In a scan FF 00 stands for a byte of data, FF FF fills up, and FF 01 and FF D0 to FF D7 (restart) have no length.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
_TIFF_INTEGERS = {3: "H", 4: "I"}
_MOST_GIF_REMARKS = 4096  # blocks of them, up to 1 MB; the time that Pillow takes grows with their square
_LEAST_GIF_BLOCK = 16  # bytes of pixels in one, on average; writers fill up 255


def is_known(encoded: bytes) -> bool:
    """Whether a file's first bytes are those of JPEG, PNG, WebP, BMP or TIFF."""
    return encoded.startswith((b"\xff\xd8", PNG, b"RIFF", b"BM", b"II*\0", b"MM\0*"))


def is_grey(encoded: bytes) -> bool:
    """Whether a file is a PNG that holds grey beside alpha."""
    return encoded.startswith(PNG) and encoded[25] == 4  # its type of colour


def is_opaque(encoded: bytes) -> bool:
    """Whether a file is a JPEG, or a PNG of a type of colour without alpha and with no colour that is transparent."""
    if not encoded.startswith(PNG):
        return encoded.startswith(b"\xff\xd8")
    return encoded[25] in (0, 2, 3) and b"tRNS" not in _png_chunks(encoded)


def transparent_grey(encoded: bytes) -> int | None:
    """Returns the value that is transparent in a PNG of grey, as it is decoded, to 8 or 16 bits; None if none is."""
    if not encoded.startswith(PNG) or encoded[25] != 0:
        return None
    most = 2 ** encoded[24] - 1  # of the depth at which it is stored
    chunks = itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", _png_bodies(encoded))
    values = (int.from_bytes(body, "big") & most for kind, body in chunks if kind == b"tRNS" and len(body) == 2)
    return next((value * max(most, 255) // most for value in values), None)


def tells_all_before_pixels(encoded: bytes) -> bool:
    """Whether a file is a PNG in which nothing follows its pixels, where EXIF and texts may stand too."""
    from_pixels_on = itertools.dropwhile(lambda kind: kind != b"IDAT", _png_chunks(encoded))
    return encoded.startswith(PNG) and set(from_pixels_on) - {b"IEND"} == {b"IDAT"}


def size(encoded: bytes) -> tuple[int, int]:
    """Returns (width, height) in pixels of a JPEG, PNG, WebP, BMP or TIFF file.

    Raises `ValueError` for anything else, and for a header that ends too early.
    """
    try:
        if encoded.startswith(b"\xff\xd8"):
            return _jpeg(encoded)
        if encoded.startswith(PNG):
            return struct.unpack_from(">II", encoded, 16)
        if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
            return _webp(encoded)
        if encoded.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", encoded, 18)
            return abs(width), abs(height)  # a negative height means that rows run downwards
        if encoded.startswith((b"II*\0", b"MM\0*")):
            return _tiff(encoded)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(DAMAGED_HEADER) from error
    raise ValueError("not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image; save it as one of these")


def check(encoded: bytes) -> None:
    """Raises `ValueError` when a JPEG, PNG or WebP file ends before its image does, or a PNG was changed since.

    Decoders fill what is missing with grey and say nothing. What follows the image, as the film of a phone's motion
    photo, is not looked at.
    """
    if encoded.startswith(b"\xff\xd8"):
        whole = _is_jpeg_whole(encoded)
    elif encoded.startswith(PNG):
        whole = _is_png_whole(encoded)
    elif encoded.startswith(b"RIFF"):
        whole = len(encoded) >= int.from_bytes(encoded[4:8], "little") + 8
    else:
        whole = True
    if not whole:
        raise ValueError("the file is truncated; copy it again from where it came")
    if encoded.startswith(PNG) and not _has_png_sums(encoded):
        raise ValueError("the file is damaged, as its own checksums say; copy it again from where it came")


def check_gif(encoded: bytes) -> None:
    """Raises `ValueError` where a GIF has more blocks before its second picture than any writer makes (GIF89a, 15)."""
    place = 13 + _gif_colours(encoded[10:11])
    left = {b"!": _MOST_GIF_REMARKS, b",": _MOST_GIF_REMARKS + len(encoded) // _LEAST_GIF_BLOCK}
    pictures = 0
    while place < len(encoded) and pictures < 2 and (kind := encoded[place : place + 1]) != b";":
        if kind not in left:
            place += 1
            continue
        pictures += kind == b","
        place += 2 if kind == b"!" else 10 + _gif_colours(encoded[place + 9 : place + 10]) + 1
        most = left[kind] - 1
        while place < len(encoded) and encoded[place] and most > 0:
            most -= 1
            place += 1 + encoded[place]
        if most <= 0:
            raise ValueError("it is cut into too many blocks; save it as a PNG")
        left[kind], place = most, place + 1


def _gif_colours(flags: bytes) -> int:
    """Bytes of the table of colours that follows."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0


def _is_jpeg_whole(encoded: bytes) -> bool:
    """Whether segments and scans follow each other up to the end-of-image marker, after a scan at least.

    A thumbnail's markers lie within a segment, which is passed over by its length (ITU-T T.81, B.1.1).
    """
    place, has_scan = 2, False
    while marker := _MARKER.search(encoded, place):
        kind, place = encoded[marker.end() - 1], marker.end()
        if kind == _END_OF_IMAGE:
            return has_scan
        if kind == _START_OF_IMAGE:
            continue
        has_scan |= kind == _START_OF_SCAN
        place += max(2, int.from_bytes(encoded[place : place + 2], "big"))
    return False


def _is_png_whole(encoded: bytes) -> bool:
    """Whether chunks follow each other up to the one that ends the image."""
    return b"IEND" in _png_chunks(encoded)


def _has_png_sums(encoded: bytes) -> bool:
    """Whether the chunks that make the image have the checksums that follow them (PNG, 5.3).

    libpng says so of those that have not, to whoever sees the terminal.
    """
    end = 8
    for kind, body in _png_bodies(encoded):
        end += 12 + len(body)
        if kind[:1].isupper() and zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") != encoded[end - 4 : end]:
            return False
    return True


def _png_chunks(encoded: bytes) -> Iterator[bytes]:
    """The kinds of a PNG's chunks up to the one that ends it, as far as there are whole headers of them."""
    return (kind for kind, _ in _png_bodies(encoded))


def _png_bodies(encoded: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """As `_png_chunks`, each with what is in it."""
    place, view, kind = 8, memoryview(encoded), b""
    while place + 12 <= len(encoded) and kind != b"IEND":
        end = place + 8 + int.from_bytes(encoded[place : place + 4], "big")
        kind = encoded[place + 4 : place + 8]
        yield kind, view[place + 8 : end]
        place = end + 4


def webp_chunks(encoded: bytes) -> Iterator[bytes]:
    """The kinds of a WebP's chunks; one of a file's first three or so says how its pixels are kept."""
    place = 12
    while place + 8 <= len(encoded):
        yield encoded[place : place + 4]
        length = int.from_bytes(encoded[place + 4 : place + 8], "little")
        place += 8 + length + length % 2


def _jpeg(encoded: bytes) -> tuple[int, int]:
    place = 2
    while encoded[place + 1] not in _JPEG_SIZED:
        if encoded[place] != 0xFF:
            raise IndexError(place)
        is_fill = encoded[place + 1] == 0xFF
        place += 1 if is_fill else 2 + struct.unpack_from(">H", encoded, place + 2)[0]
    height, width = struct.unpack_from(">HH", encoded, place + 5)
    return width, height


def _webp(encoded: bytes) -> tuple[int, int]:
    kind = encoded[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(encoded[place : place + 3], "little") for place in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", encoded, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", encoded, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(encoded: bytes) -> tuple[int, int]:
    order = "<" if encoded.startswith(b"II") else ">"
    start = struct.unpack_from(order + "I", encoded, 4)[0]
    count = struct.unpack_from(order + "H", encoded, start)[0]
    tags = {}
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", encoded, place)
        if tag in (256, 257):
            tags[tag] = struct.unpack_from(order + _TIFF_INTEGERS[kind], encoded, place + 8)[0]
    return tags[256], tags[257]
