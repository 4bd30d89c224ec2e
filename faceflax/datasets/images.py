"""Encoded photographs to square RGB uint8 and back, with OpenCV."""

import cv2
import numpy as np


def decode(encoded: bytes) -> np.ndarray:
    """Returns the image as uint8 [H, W, 3] RGB.

    Grey is repeated in the three channels, alpha is dropped, 16 bits become 8, and the EXIF orientation is applied.
    A truncated file may come out grey at its bottom: `preprocessing.headers.check` tells. Raises `ValueError` when it
    is no image at all.
    """
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    except cv2.error:  # such as a header that claims more pixels than OpenCV reads
        image = None
    if image is None:
        raise ValueError("not an image that can be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def central_square(image: np.ndarray) -> np.ndarray:
    """Returns the largest central square of `image` [H, W, 3]."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the central square of `image` [H, W, 3] at `size` x `size`.

    Shrinking averages areas, so that it is antialiased; enlarging is bicubic.
    """
    image = central_square(image)
    if image.shape[0] == size:
        return image
    interpolation = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=interpolation)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Returns uint8 [H, W, 3] RGB as JPEG of `quality` (0 to 100) without chroma subsampling (4:4:4)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def encode_png(image: np.ndarray) -> bytes:
    """Returns uint8 [H, W, 3] RGB as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
