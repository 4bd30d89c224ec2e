"""Raw frames with the times at which they show, as a Matroska stream (RFC 9559): what a pipe of bare pixels lacks."""

import struct

TICK = 1e-6
"""Seconds; times are whole numbers of it."""


def header(shape: tuple[int, int]) -> bytes:
    """Returns what goes before the frames, uint8 RGB of `shape` (H, W)."""
    height, width = shape
    kind = _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2)
    picture = _number(0xB0, width) + _number(0xBA, height) + _element(0x2EB524, b"RGB\x18")
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b"V_UNCOMPRESSED")
    segment = _element(0x1549A966, _number(0x2AD7B1, round(TICK * 1e9)))
    segment += _element(0x1654AE6B, _element(0xAE, track + _element(0xE0, picture)))
    return _element(0x1A45DFA3, kind) + _identifier(0x18538067) + b"\x01" + b"\xff" * 7 + segment  # of unknown length


def frame_header(time: int, num_bytes: int) -> bytes:
    """Returns what goes before the bytes of a frame that shows at `time`, in ticks of 0 or more."""
    timestamp = _number(0xE7, time)
    block = b"\x81\0\0\x80"  # of track 1, at the cluster's time, a key frame
    head = _identifier(0xA3) + _length(len(block) + num_bytes) + block
    return _identifier(0x1F43B675) + _length(len(timestamp) + len(head) + num_bytes) + timestamp + head


def _element(identifier: int, data: bytes) -> bytes:
    return _identifier(identifier) + _length(len(data)) + data


def _number(identifier: int, value: int) -> bytes:
    return _element(identifier, struct.pack(">Q", value))


def _identifier(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def _length(num_bytes: int) -> bytes:
    return struct.pack(">Q", 1 << 56 | num_bytes)
