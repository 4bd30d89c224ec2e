"""What Pillow reads better than OpenCV: colour profiles and EXIF, CMYK, and GIF, HEIC and AVIF files."""

import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

# Sizes are checked before anything is decoded, and a damaged EXIF block is as none.
warnings.filterwarnings("ignore", module=r"PIL\.")

# What Pillow's readers raise on damaged files; RuntimeError is AVIF's, EOFError and ValueError are HEIC's.
_DAMAGED = (OSError, SyntaxError, RuntimeError, EOFError, ValueError)
_ORIENTATION = 0x112
# How a TIFF file stores its pixels (TIFF 6.0): strips and tiles, samples, palette, inks, JPEG tables, YCbCr, further
# images; none of it is so in another file. Its profile is read apart.
_STORAGE = {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 332}
_STORAGE |= {338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532, 34675}
_GIF = (b"GIF87a", b"GIF89a")
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


class _RefusedError(ValueError):
    """A file is not read for a reason of ours, which is told as it stands."""


def needs_pillow(encoded: bytes) -> bool:
    """Whether a file's first bytes are those of GIF, HEIC or AVIF, or a JPEG's that has four channels."""
    if encoded.startswith(_GIF):
        return True
    return _brand(encoded) in _HEIF_BRANDS | _AVIF_BRANDS or encoded.startswith(b"\xff\xd8") and _has_four(encoded)


def _brand(encoded: bytes) -> bytes:
    return encoded[8:12] if encoded[4:8] == b"ftyp" else b""


def _has_four(encoded: bytes) -> bool:
    try:
        with _open(encoded) as image:
            return image.mode == "CMYK"
    except (*_DAMAGED, Image.DecompressionBombError):
        return False


def _open(encoded: bytes) -> Image.Image:
    if _brand(encoded) in _HEIF_BRANDS:
        try:
            import pillow_heif
        except ImportError as error:
            raise _RefusedError("HEIC files need pillow-heif; install faceflax[heic]") from error
        pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(encoded))


def size(encoded: bytes) -> tuple[int, int]:
    """Returns (width, height) in pixels by a file's header; raises `ValueError` when Pillow cannot read it."""
    try:
        with _open(encoded) as image:
            return image.size
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS / 1e6  # Pillow refuses twice what it warns of
        raise ValueError(f"it claims more than {most:.0f} million pixels") from error
    except _RefusedError:
        raise
    except _DAMAGED as error:
        raise ValueError("its header is damaged or cut short") from error


def decode(encoded: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns uint8 RGB [H, W, 3], upright, and alpha [H, W] or None.

    CMYK is brought to sRGB by its profile where it has one. Raises `ValueError` when the file is damaged, and for a
    GIF that moves.
    """
    try:
        with _open(encoded) as image:
            if encoded.startswith(_GIF) and image.n_frames > 1:
                raise _RefusedError(f"an animation of {image.n_frames} pictures; make a video of it, as by ffmpeg")
            image = ImageOps.exif_transpose(image)
            if image.mode == "CMYK":
                image = _from_cmyk(image)
            has_alpha = image.has_transparency_data
            pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except _RefusedError:
        raise
    except _DAMAGED as error:
        raise ValueError("the file is damaged or cut short") from error
    return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]) if has_alpha else None


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

    The EXIF block says that the image is upright, as it is once it is read, has no thumbnail, and says nothing of how
    the file stores its pixels. A profile that is not of RGB or grey is left out.
    """
    try:
        with _open(encoded) as image:
            profile = image.info.get("icc_profile") or b""
            exif = image.getexif()
    except (*_DAMAGED, Image.DecompressionBombError):
        return b"", b""
    profile = profile if profile[16:20] in (b"RGB ", b"GRAY") else b""
    for tag in _STORAGE & set(exif):
        del exif[tag]
    if not exif:
        return profile, b""
    exif[_ORIENTATION] = 1
    try:
        return profile, exif.tobytes().removeprefix(b"Exif\0\0")
    except (ValueError, TypeError, KeyError, OSError):  # tags of types that their own standard does not know
        return profile, b""
