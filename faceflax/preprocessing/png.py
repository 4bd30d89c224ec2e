"""PNG files of grey beside alpha (PNG specification, third edition), which OpenCV writes only as colours."""

import struct
import zlib

import numpy as np

from faceflax.preprocessing import headers

_GREY_WITH_ALPHA = 4  # type of colour
_UP = 2  # filter: what a row has more than the one above it


def grey_with_alpha(grey: np.ndarray, alpha: np.ndarray, profile: bytes, exif: bytes) -> bytes:
    """Returns a PNG file of `grey` and `alpha`, both uint8 or uint16 [H, W].

    `profile` (ICC) and `exif` go along where they are not empty.
    """
    height, width = grey.shape
    values = np.stack([grey, alpha], axis=2)
    rows = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), _UP, np.uint8)
    filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    head = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, _GREY_WITH_ALPHA, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head)]
    chunks += [_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile))] if profile else []
    chunks += [_chunk(b"eXIf", exif)] if exif else []
    chunks += [_chunk(b"IDAT", zlib.compress(filtered)), _chunk(b"IEND", b"")]
    return headers.PNG + b"".join(chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
