"""A picture in files of many kinds, as Pillow writes them."""

import io

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


RGBA = RNG.integers(0, 256, (20, 31, 4), np.uint8)


def encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def save(folder, data, name="photo"):
    path = folder / name
    path.write_bytes(data)
    return path


COLOUR = Image.fromarray(RGBA[..., :3])


FILES = {
    "jpeg": encode(COLOUR, "JPEG"),
    "progressive": encode(COLOUR, "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(300)),
    "png": encode(COLOUR, "PNG"),
    "palette": encode(COLOUR.convert("P"), "PNG"),
    "webp": encode(COLOUR, "WEBP"),
    "lossless webp": encode(COLOUR, "WEBP", lossless=True),
    "webp with alpha": encode(Image.fromarray(RGBA), "WEBP"),
    "bmp": encode(COLOUR, "BMP"),
    "tiff": encode(COLOUR, "TIFF"),
    "packed tiff": encode(COLOUR, "TIFF", compression="tiff_lzw"),
}
