"""What Pillow reads better than OpenCV: profiles and EXIF, CMYK, Lab, TIFF's alpha, and GIF, HEIC and AVIF files."""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

from faceflax.preprocessing import headers

# Sizes are checked before anything is decoded, and a damaged EXIF block is as none.
warnings.filterwarnings("ignore", module=r"PIL\.")

# What Pillow's readers raise on damaged files: RuntimeError is AVIF's, EOFError and ValueError are HEIC's, LookupError
# GIF's, TypeError TIFF's, struct.error and AssertionError EXIF's and MPO's, whose numbers may also be 0 or too large.
_DAMAGED = (OSError, SyntaxError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
_DAMAGED += (struct.error, AssertionError, ArithmeticError)
_ORIENTATION = 0x112
_DETAILS, _EXTENT = 0x8769, (0xA002, 0xA003)  # EXIF's own block, and the width and height in it
_BLOCKS = {_DETAILS, 0x8825}  # and that of places
# How a TIFF file stores its pixels (TIFF 6.0): strips and tiles, samples, palette, inks, JPEG tables, YCbCr, further
# images; none of it is so in another file. Its profile is read apart.
_STORAGE = {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 332}
_STORAGE |= {338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532, 34675}
_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}
_GIF = (b"GIF87a", b"GIF89a")
_TIFF = (b"II*\0", b"MM\0*")
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


class _RefusedError(ValueError):
    """A file is not read for a reason of ours, which is told as it stands."""


def needs_pillow(encoded: bytes) -> bool:
    """Whether a file's first bytes are those of GIF, HEIC or AVIF, or of a JPEG or TIFF that OpenCV reads wrongly.

    It takes the four channels of CMYK for others, also for alpha, Lab for RGB, and leaves out the alpha beside grey.
    """
    if encoded.startswith(_GIF) or _brand(encoded) in _HEIF_BRANDS | _AVIF_BRANDS:
        return True
    return encoded.startswith((b"\xff\xd8", *_TIFF)) and _mode(encoded) in ("CMYK", "LAB", "LA")


def is_lossy(encoded: bytes) -> bool:
    """Whether a file is of a kind that keeps no pixel exactly: JPEG, HEIC, AVIF, or WebP of the kind that is lossy."""
    is_webp = encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP"
    return (
        encoded.startswith(b"\xff\xd8")
        or _brand(encoded) in _HEIF_BRANDS | _AVIF_BRANDS
        or (is_webp and b"VP8 " in headers.webp_chunks(encoded))
    )


def _brand(encoded: bytes) -> bytes:
    return encoded[8:12] if encoded[4:8] == b"ftyp" else b""


def _mode(encoded: bytes) -> str:
    """Pillow's name for a file's channels; empty where it cannot be read."""
    try:
        with _open(encoded) as image:
            return image.mode
    except (*_DAMAGED, Image.DecompressionBombError):
        return ""


def _open(encoded: bytes) -> Image.Image:
    if _brand(encoded) in _HEIF_BRANDS:
        try:
            import pillow_heif
        except ImportError as error:
            raise _RefusedError("HEIC files need pillow-heif; install faceflax[heic]") from error
        pillow_heif.register_heif_opener()
    if encoded.startswith(_GIF):
        headers.check_gif(encoded)
    return Image.open(io.BytesIO(encoded))


def size(encoded: bytes) -> tuple[int, int]:
    """Returns (width, height) in pixels by a file's header; raises `ValueError` when Pillow cannot read it."""
    try:
        with _open(encoded) as image:
            return image.size
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS / 1e6  # Pillow refuses twice what it warns of
        raise ValueError(f"it claims more than {most:.0f} million pixels; make it smaller") from error
    except _RefusedError:
        raise
    except _DAMAGED as error:
        raise ValueError(headers.DAMAGED_HEADER) from error


def check_single(encoded: bytes) -> None:
    """Raises `ValueError` for an animation (GIF, WebP, PNG or AVIF) and for a TIFF file of pages.

    A second picture of another size, as for a preview, is no page. Damage is for those to tell who decode. No pictures
    are counted, as a small file may hold very many.
    """
    try:
        with _open(encoded) as image:
            is_animation = image.format in _ANIMATED and image.is_animated
            has_pages = image.format == "TIFF" and _has_second_page(image)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        if encoded.startswith(_GIF):  # a second picture that is cut short, of which no decoder of the first would tell
            raise ValueError(headers.DAMAGED) from error
        return
    if has_pages:
        raise ValueError("it holds several pages; save each in a file of its own")
    if is_animation:
        raise ValueError("it is an animation; make a video of it, as by ffmpeg")


def _has_second_page(image: Image.Image) -> bool:
    first = image.size
    try:
        image.seek(1)
    except EOFError:
        return False
    return image.size == first


def orientation(encoded: bytes) -> int:
    """Returns EXIF's orientation of a file, from 1 to 8; 1, upright, where it says nothing that can be read."""
    try:
        with _open(encoded) as image:
            return _exif(image, encoded).get(_ORIENTATION, 1)
    except (*_DAMAGED, Image.DecompressionBombError):
        return 1


def _exif(image: Image.Image, encoded: bytes) -> Image.Exif:
    """A file's EXIF; a PNG's own method would decode its pixels first, in search of EXIF behind them."""
    is_before = headers.tells_all_before_pixels(encoded)
    return Image.Image.getexif(image) if is_before else image.getexif()


def decode(encoded: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns uint8 RGB [H, W, 3], or [H, W] of grey and of a GIF whose colours all are, upright; and alpha or None.

    Lab is brought to sRGB, and so is CMYK, by its profile if it has one. Raises `ValueError` when the file is damaged.
    """
    try:
        with _open(encoded) as image:
            is_gif, is_grey = image.format == "GIF", image.mode == "LA"
            image = ImageOps.exif_transpose(image)
            if image.mode == "CMYK":
                image = _from_cmyk(image)
            has_alpha = image.has_transparency_data
            pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except _RefusedError:
        raise
    except _DAMAGED as error:
        raise ValueError(headers.DAMAGED) from error
    is_grey |= is_gif and bool((pixels[..., :3] == pixels[..., :1]).all())
    colours = pixels[..., 0] if is_grey else pixels[..., :3]
    return np.ascontiguousarray(colours), np.ascontiguousarray(pixels[..., 3]) if has_alpha else None


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            return ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile is as none
    return image.convert("RGB")


def metadata(encoded: bytes) -> tuple[bytes, bytes]:
    """Returns the colour profile (ICC) and the EXIF block of a file, each empty where there is none that can be read.

    The EXIF block says that the image is upright, as it is once it is read, has no thumbnail, and says nothing of its
    size and of how the file stores its pixels. A profile that is not of RGB or grey is left out.
    """
    try:
        with _open(encoded) as image:
            profile = image.info.get("icc_profile") or b""
            exif = _exif(image, encoded)
            for block in _BLOCKS & set(exif):
                exif.get_ifd(block)  # of a TIFF file, which is closed later
    except (*_DAMAGED, Image.DecompressionBombError):
        return b"", b""
    profile = profile if profile[16:20] in (b"RGB ", b"GRAY") else b""
    for tag in _STORAGE & set(exif):
        del exif[tag]
    if not exif:
        return profile, b""
    exif[_ORIENTATION] = 1
    try:
        for tag in _EXTENT if _DETAILS in exif else ():
            exif.get_ifd(_DETAILS).pop(tag, None)
        return profile, exif.tobytes().removeprefix(b"Exif\0\0")
    except _DAMAGED:  # tags of types that their own standard does not know
        return profile, b""
