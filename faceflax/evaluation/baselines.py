"""What classical methods do with each task: the line that a network has to beat.

They run on the host with OpenCV, on uint8 RGB images. Each is told the severity, which a network is not. Parameters
were chosen on the first training faces of `mini_faces` (128x128; 16 of them for non-local means, 64 for the others);
how far they raise the mean PSNR of the first 64 stands with each method. Lengths scale with the image's smaller side.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np

Restore = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


class Baseline(NamedTuple):
    """A classical method: `restore(degraded, mask, severity) -> restored`.

    `degraded` and `restored` are uint8 RGB [H, W, 3]; `mask` is uint8 [H, W], 1 where pixels are missing.
    """

    name: str
    restore: Restore


def _unit(image: np.ndarray) -> float:
    return min(image.shape[:2]) / 128


def bicubic(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Returns the input: the task itself enlarges by bicubic interpolation. +0 dB."""
    return degraded


def non_local_means(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Non-local means (Buades et al., CVPR 2005) for noise of known deviation; +4.8, +6.7, +8.7 dB at 15, 25, 50.

    3x3 patches and a filter strength of 0.7 sigma did better than OpenCV's 7x7 and any strength up to 1.2 sigma.
    """
    return _non_local_means(degraded, 0.7 * severity)


def _non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    return cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 3, 21)


def bilateral_jpeg(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Bilateral filter (Tomasi and Manduchi, ICCV 1998), wider at lower quality; +0.5, +0.6, +0.8 dB at 50, 30, 10."""
    colour, space = {50: (20, 4), 30: (25, 4), 10: (40, 5)}[int(severity)]
    return cv2.bilateralFilter(degraded, 0, colour, space)


def bilateral(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """A light bilateral filter, since what happened is unknown; +0.1, +0.1, +0.0 dB at 1, 2, 3."""
    return cv2.bilateralFilter(degraded, 0, 20, 2)


def telea(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Fast marching inpainting (Telea, J. Graphics Tools 2004), radius 8 pixels.

    In the hole +6.4, +4.3, +2.3 dB over mid-grey at 10, 25, 50 %.
    """
    return cv2.inpaint(degraded, mask, 8 * _unit(degraded), cv2.INPAINT_TELEA)


def telea_wide(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """As `telea` with radius 16, for the large holes of `facemask`; in the hole +7.0, +7.1 dB at 1, 2.

    Radius 24 gains another 0.4 dB; the time grows with the radius squared.
    """
    return cv2.inpaint(degraded, mask, 16 * _unit(degraded), cv2.INPAINT_TELEA)


def invert_light(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Non-local means, then the known exposure and gamma undone; +23.7, +16.7, +8.8 dB at 1, 2, 3."""
    exposure, gamma, strength = {1: (0.6, 1.5, 2.0), 2: (0.3, 2.5, 15.0), 3: (0.15, 3.0, 20.0)}[int(severity)]
    light = _non_local_means(degraded, strength) / (255 * exposure)
    return _to_uint8(255 * light ** (1 / gamma))


def wiener_gaussian(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Wiener filter for an isotropic Gaussian of 0.9 of the known deviation; +1.9, +2.1, +1.4 dB at 1.5, 3, 6.

    Half of the kernels are narrower on one axis; a deviation of 0.9 errs less on those than the full one.
    """
    sigma = 0.9 * severity * _unit(degraded)
    radius = int(np.ceil(3 * sigma))
    line = cv2.getGaussianKernel(2 * radius + 1, sigma)
    return wiener(degraded, line @ line.T, 1.0)


def wiener_line(degraded: np.ndarray, mask: np.ndarray, severity: float) -> np.ndarray:
    """Wiener filter for a line of known length whose angle is estimated; +2.1, +1.8, +1.4 dB at 9, 15, 25."""
    kernel = _line_kernel(severity * _unit(degraded), motion_angle(degraded))
    return wiener(degraded, kernel, 0.025 * severity**2)


def motion_angle(image: np.ndarray) -> float:
    """Estimates the direction of motion blur in radians, 0 to pi, from the x axis towards the y axis (down).

    Along the motion an image varies least: the answer is the weaker eigenvector of the structure tensor of its
    Laplacian. Within 9 degrees on all of the 192 blurred faces that it was tried on.
    """
    detail = cv2.Laplacian(image.astype(np.float64).mean(axis=-1), cv2.CV_64F)
    inner = (slice(2, -2), slice(2, -2))
    gradient = [cv2.Sobel(detail, cv2.CV_64F, dx, 1 - dx)[inner].ravel() for dx in (1, 0)]
    _, vectors = np.linalg.eigh(np.cov(gradient))
    return float(np.arctan2(vectors[1, 0], vectors[0, 0]) % np.pi)


def _line_kernel(length: float, angle: float) -> np.ndarray:
    """A line through the centre of a square kernel that sums to 1: points shared bilinearly among four pixels."""
    radius = int(np.ceil(length / 2)) + 1
    pixel = np.arange(-radius, radius + 1)
    offset = np.linspace(-length / 2, length / 2, 8 * radius)[:, None]
    rows = np.maximum(0, 1 - np.abs(pixel - offset * np.sin(angle)))
    columns = np.maximum(0, 1 - np.abs(pixel - offset * np.cos(angle)))
    return rows.T @ columns / len(offset)


def wiener(image: np.ndarray, kernel: np.ndarray, noise: float) -> np.ndarray:
    """Deconvolves each channel of a uint8 image by a square kernel of odd side, mirroring it at its borders.

    By `conj(H) / (|H|^2 + noise * f^2)`, f in cycles a pixel of a 128-pixel image. The ratio of noise to signal grows
    with f^2 because the power of natural images falls so (Field, JOSA A 1987).
    """
    pad = kernel.shape[0]
    mirrored = cv2.copyMakeBorder(image, *(pad,) * 4, cv2.BORDER_REFLECT_101).astype(np.float64)
    shape = mirrored.shape[:2]
    padded = np.pad(kernel, [(0, size - pad) for size in shape])
    transfer = np.fft.rfft2(np.roll(padded, (-(pad // 2), -(pad // 2)), axis=(0, 1)))
    squared = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1]) ** 2
    gain = np.conj(transfer) / (np.abs(transfer) ** 2 + noise * squared * _unit(image) ** 2)
    spectrum = np.fft.rfft2(mirrored, axes=(0, 1)) * gain[..., None]
    return _to_uint8(np.fft.irfft2(spectrum, s=shape, axes=(0, 1))[pad:-pad, pad:-pad])


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


BASELINES: Mapping[str, Baseline] = {
    "sr": Baseline("bicubic", bicubic),
    "noise": Baseline("non-local means", non_local_means),
    "blur": Baseline("Wiener", wiener_gaussian),
    "motion": Baseline("Wiener", wiener_line),
    "jpeg": Baseline("bilateral", bilateral_jpeg),
    "lowlight": Baseline("NLM + inverse curve", invert_light),
    "occlude": Baseline("Telea", telea),
    "facemask": Baseline("Telea", telea_wide),
    "blind": Baseline("bilateral", bilateral),
}
"""The classical method for each task of `faceflax.degradations.TASKS`."""
