"""Colour profiles (ICC version 2) that are not sRGB, made from the numbers that define them."""

import struct

_ADOBE = {"rXYZ": (0.60974, 0.31111, 0.01947), "gXYZ": (0.20528, 0.62567, 0.06087), "bXYZ": (0.14919, 0.06322, 0.74457)}
_WHITE = (0.9642, 1.0, 0.8249)  # D50


def adobe_rgb() -> bytes:
    """The colours of Adobe RGB (1998), adapted to D50: a wider green than sRGB's, and a plain gamma of 563/256."""
    tags = {name: _xyz(*values) for name, values in _ADOBE.items()}
    return _profile(b"RGB ", tags | {f"{channel}TRC": _gamma(563) for channel in "rgb"})


def linear_grey() -> bytes:
    """Grey whose values are proportional to light."""
    return _profile(b"GRAY", {"kTRC": _gamma(256)})


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def _gamma(of_256: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHH", 1, of_256, 0)


def _text(kind: bytes, text: bytes) -> bytes:
    if kind == b"text":
        return b"text\0\0\0\0" + text + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)


def _profile(space: bytes, tags: dict[str, bytes]) -> bytes:
    tags = tags | {"wtpt": _xyz(*_WHITE), "desc": _text(b"desc", b"a test"), "cprt": _text(b"text", b"none")}
    table, data, place = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name.encode(), place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(data), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(*_WHITE)[8:] + bytes(48)
    return header + table + data
