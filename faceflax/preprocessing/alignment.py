"""From a photograph to the aligned crop of a face, and back: one similarity, and a warp that does not alias.

Coordinates run from the upper left corner of an image, so that pixel i has its centre at i + 0.5.
"""

import dataclasses

import cv2
import numpy as np

from faceflax.preprocessing import landmarks

# ArcFace's five points in a crop of 112 pixels (Deng et al., CVPR 2019), where pixel i has its centre at i.
_ARCFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
TEMPLATES = {"ffhq": landmarks.TEMPLATE, "arcface": (_ARCFACE + 0.5) / 112}
"""Five points in parts of the crop's side: FFHQ's framing for restoration; ArcFace's, closer, for recognition."""


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Where a face's crop lies in its photograph.

    Attributes:
      size: side of the crop in pixels.
      matrix: float64 [2, 3], a similarity that maps (x, y, 1) of the photograph to (x, y) of the crop.
    """

    size: int
    matrix: np.ndarray

    @property
    def inverse(self) -> np.ndarray:
        """float64 [2, 3] from the crop to the photograph."""
        return invert(self.matrix)

    @property
    def step(self) -> float:
        """Side of a crop's pixel in the photograph's: above 1 the face is larger there than in the crop."""
        return _step(self.matrix)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Maps points [..., 2] of the photograph into the crop."""
        return transform(self.matrix, points)

    def to_photograph(self, points: np.ndarray) -> np.ndarray:
        """Maps points [..., 2] of the crop into the photograph."""
        return transform(self.inverse, points)

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the face out of `pixels` [H, W] or [H, W, C] (see `warp`), mirrored at the photograph's edges."""
        return warp(pixels, self.matrix, (self.size, self.size))


def align(points: np.ndarray, size: int, template: str = "ffhq") -> Alignment:
    """Returns the alignment that brings `points` [5, 2] nearest to the named one of `TEMPLATES`.

    Raises `ValueError` when the points do not lie like a face's.
    """
    return Alignment(size, invert(landmarks.fit(points, TEMPLATES[template])) * size)


def _step(matrix: np.ndarray) -> float:
    """How far apart in the source lie two neighbours of what an affine map [2, 3] makes of it."""
    return float(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def invert(matrix: np.ndarray) -> np.ndarray:
    """Returns the inverse [2, 3] of an affine map [2, 3]."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps points [..., 2] by an affine map [2, 3]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp(
    pixels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], border: int = cv2.BORDER_REFLECT_101
) -> np.ndarray:
    """Returns `pixels` [H, W] or [H, W, C], uint8, uint16 or float32, moved by `matrix` [2, 3], with `shape` (H, W).

    Bicubic; where it shrinks, areas are averaged and the rest is blurred away before, so that it does not alias.
    `border` is OpenCV's rule for what lies outside.
    """
    pixels, matrix = _cut_region(pixels, matrix, shape)
    step = _step(matrix)
    factor = int(step)
    if factor > 1:
        pixels, matrix, step = _average(pixels, factor), matrix @ np.diag([factor, factor, 1.0]), step / factor
    if step > 1:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.55 * np.sqrt(step**2 - 1) + 1e-3, borderType=border)
    matrix = matrix.copy()
    matrix[:, 2] += 0.5 * matrix[:, 0] + 0.5 * matrix[:, 1] - 0.5  # OpenCV's pixel i has its centre at i
    return cv2.warpAffine(pixels, matrix, shape[::-1], flags=cv2.INTER_CUBIC, borderMode=border)


def _cut_region(pixels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of `pixels` that the result shows or mirrors, and the matrix from there."""
    height, width = shape
    corners = transform(invert(matrix), np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64))
    sides = np.array(pixels.shape[1::-1])
    margin = 4 + np.ptp(corners, axis=0) // 8
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    first = np.clip(np.minimum(low, 2 * sides - high), 0, sides - 1).astype(int)
    last = np.clip(np.ceil(np.maximum(high, -low)), first + 1, sides).astype(int)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ first
    return pixels[first[1] : last[1], first[0] : last[0]], moved


def _average(pixels: np.ndarray, factor: int) -> np.ndarray:
    """`pixels` with `factor` x `factor` of them averaged into one; the last row and column are repeated to fill up."""
    height, width = (side + -side % factor for side in pixels.shape[:2])
    padding = (0, height - pixels.shape[0], 0, width - pixels.shape[1])
    pixels = cv2.copyMakeBorder(pixels, *padding, cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
