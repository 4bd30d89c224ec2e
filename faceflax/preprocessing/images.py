"""A user's image files to arrays and back, without losing what restoration does not touch: alpha, depth, greyness."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.preprocessing import colour, headers, pillow, png, sizes

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".gif")
MAX_PIXELS = 100_000_000
_LOSS = 16  # parts of a mask's brightest pixel; one is more than most of what JPEG spreads around a thin line
_ORIENTED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH  # OpenCV turns the image as its EXIF tag says
# By EXIF's orientation: quarter turns to the left, after it is mirrored or not.
_TURNS = {1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True)}
_TURNS |= {5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A decoded file, upright.

    Attributes:
      pixels: uint8 or uint16, [H, W] if grey, else RGB [H, W, 3].
      alpha: [H, W] of the same type, or None.
      profile: the colour profile (ICC) that the pixels' values mean, or empty.
      exif: what the camera wrote (EXIF), said to be upright, or empty.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    profile: bytes = b""
    exif: bytes = b""


def read(path: Path) -> Photograph:
    """Returns the photograph in a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or (with `faceflax[heic]`) HEIC file.

    Raises `UserError` with the path and what is wrong: unreadable, more than 1,000 MB, empty, no such image, cut short,
    damaged, more than 100 million pixels by its header, pixels of neither 8 nor 16 bits, an animation, or pages.
    """
    return decode(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Returns what is in a file; raises `UserError` with the path where it cannot be read, or exceeds 1,000 MB."""
    with _named(path):
        if path.stat().st_size > sizes.MAX_BYTES:
            raise ValueError(f"more than the {sizes.MAX_BYTES // 10**6:,} MB that are allowed; make it smaller")
        return path.read_bytes()


def decode(path: Path, encoded: bytes) -> Photograph:
    """As `read`, from the bytes of the file `path`."""
    with _named(path):
        return _decode(encoded)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; check that it is there and may be read"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _decode(encoded: bytes) -> Photograph:
    if not encoded:
        raise ValueError(headers.EMPTY)
    is_for_pillow = pillow.needs_pillow(encoded)
    width, height = pillow.size(encoded) if is_for_pillow else headers.size(encoded)
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{width}x{height} pixels are more than the {MAX_PIXELS // 10**6} million that are allowed; make it smaller"
        )
    headers.check(encoded)
    pillow.check_single(encoded)
    profile, exif = pillow.metadata(encoded)
    if is_for_pillow:
        pixels, alpha = pillow.decode(encoded)
        if pixels.ndim == 3:
            pixels, profile = _in_colours(pixels, profile)
        return Photograph(pixels, alpha, profile, exif)
    pixels = _imdecode(encoded, _ORIENTED)
    alpha = _alpha(encoded, pixels)
    if alpha is not None and headers.is_grey(encoded):  # OpenCV gives it as colours beside alpha
        pixels = np.ascontiguousarray(pixels[..., 0])
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels of type {pixels.dtype} are not supported; save it with 8 or 16 bits a channel")
    if pixels.ndim == 3:
        pixels, profile = _in_colours(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), profile)
    return Photograph(pixels, alpha, profile, exif)


def _in_colours(pixels: np.ndarray, profile: bytes) -> tuple[np.ndarray, bytes]:
    """RGB [H, W, 3] and the profile that its values mean, which is not one of grey: files of colours cannot have it.

    A grey picture that was read as colours, as beside alpha in a WebP file, is brought from a profile of grey to sRGB.
    """
    if not colour.is_grey(profile):
        return pixels, profile
    if (pixels != pixels[..., :1]).any():
        return pixels, b""  # it says nothing of them
    steps = np.arange(256)
    known = colour.to_srgb(np.repeat(steps.astype(np.uint8)[None, :, None], 3, axis=2), profile)[0]
    if pixels.dtype == np.uint16:
        fine = [np.interp(np.arange(65536) / 257, steps, 257.0 * channel) for channel in known.T]
        known = np.round(np.stack(fine, axis=1)).astype(np.uint16)
    return known[pixels[..., 0]], b""


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(headers.DAMAGED)
    return image


def _alpha(encoded: bytes, oriented: np.ndarray) -> np.ndarray | None:
    """The alpha channel, upright, or None.

    OpenCV gives it only unturned, so it is turned as the colours were: as EXIF says, unless the colours say otherwise.
    It gives none of a PNG in which one value of grey is transparent.
    """
    clear = headers.transparent_grey(encoded)
    if clear is not None:
        return np.where(oriented == clear, 0, np.iinfo(oriented.dtype).max).astype(oriented.dtype)
    if headers.is_opaque(encoded):
        return None
    stored = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 3 or stored.shape[2] != 4:
        return None
    for turns, mirrored in (_TURNS.get(pillow.orientation(encoded), _TURNS[1]), *_TURNS.values()):
        turned = np.rot90(stored[:, ::-1] if mirrored else stored, turns)
        if np.array_equal(turned[..., :3], oriented):
            return np.ascontiguousarray(turned[..., 3])
    raise ValueError("its transparency cannot be read; save it without")


def to_srgb8(photograph: Photograph) -> np.ndarray:
    """Returns uint8 RGB [H, W, 3] in sRGB of a photograph of any depth, greyness and profile."""
    pixels = photograph.pixels
    pixels = pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=1 / 257)
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return colour.to_srgb(pixels, photograph.profile)


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Returns a mask file as bool [H, W], True where pixels are missing: non-zero in any channel and not transparent.

    Of a lossy file, what is faint beside its brightest pixel is not what was drawn, and counts as zero. Raises
    `UserError` when the file is bad (see `read`) or its size is not `shape`, (H, W).
    """
    encoded = read_bytes(path)
    mask, is_lossy = decode(path, encoded), pillow.is_lossy(encoded)
    missing = _drawn(mask.pixels if mask.pixels.ndim == 2 else mask.pixels.max(axis=2), is_lossy)
    if missing.shape != shape:
        have, want = (f"{width}x{height}" for height, width in (missing.shape, shape))
        raise UserError(f"{path}: the mask is {have} but its image is {want}; make them the same size")
    return missing if mask.alpha is None else missing & _drawn(mask.alpha, is_lossy)


def _drawn(values: np.ndarray, is_lossy: bool) -> np.ndarray:
    # A part of the brightest, not a number of steps, so that a mask of zeros and ones is whole as a JPEG too.
    return values > (values.max() / _LOSS if is_lossy else 0)


def write(path: Path, photograph: Photograph) -> None:
    """Writes a PNG of the photograph's own depth and channels, with its profile and EXIF, whole or not at all.

    Raises `UserError` if it cannot.
    """
    encoded = encode(photograph)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def encode(photograph: Photograph) -> np.ndarray:
    """Returns the bytes, uint8 [n], of the PNG that `write` writes."""
    pixels = photograph.pixels
    if photograph.alpha is not None and pixels.ndim == 2:
        encoded = png.grey_with_alpha(pixels, photograph.alpha, photograph.profile, photograph.exif)
        return np.frombuffer(encoded, np.uint8)
    if photograph.alpha is not None:
        pixels = np.dstack([pixels[..., ::-1], photograph.alpha])
    elif pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    blocks = {cv2.IMAGE_METADATA_EXIF: photograph.exif, cv2.IMAGE_METADATA_ICCP: photograph.profile}
    blocks = {kind: np.frombuffer(block, np.uint8) for kind, block in blocks.items() if block}
    return cv2.imencodeWithMetadata(".png", pixels, list(blocks), list(blocks.values()))[1]
