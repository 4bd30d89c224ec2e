"""Noise of a strength that nobody told: estimated, and removed by non-local means; clean images stay as they are."""

import cv2
import numpy as np

LEAST_SIGMA = 4.5
"""Of 255. Clean faces are estimated below it, and faces with noise of 5 above (`docs/preprocessing.md`)."""

STRENGTH = 0.65
"""In sigmas, for OpenCV's patches of 3x3."""

DARK_STRENGTH = 1.2
"""As `STRENGTH`, in dark pictures, where black cuts noise off so that less of it is estimated than there is."""

_PATCH, _SEARCH = 3, 21
_QUARTILE = 0.6744897501960817  # the upper one of the normal distribution of deviation 1


def estimate(pixels: np.ndarray) -> float:
    """Returns the standard deviation, of 255, of the Gaussian noise in uint8 [H, W, 3] or [H, W].

    By the median of the finest wavelet coefficients (Donoho and Johnstone, Biometrika 1994), the mean of the channels.
    It is scikit-image's `estimate_sigma`, whose import takes a second. Textures count as noise; an image of less than
    8 pixels is said to have none, as one that is even.
    """
    import pywt

    if min(pixels.shape[:2]) < 8:
        return 0.0
    _, (_, _, details) = pywt.dwt2(np.atleast_3d(pixels).astype(np.float32), "db2", axes=(0, 1))
    return float(np.mean([_median_of_changes(detail) for detail in np.moveaxis(details, -1, 0)])) / _QUARTILE


def _median_of_changes(detail: np.ndarray) -> float:
    """The median magnitude of what is not 0, which is where black or white was cut off."""
    changes = np.abs(detail[detail != 0])
    return float(np.median(changes)) if changes.size else 0.0


def denoise(pixels: np.ndarray, strength: float = STRENGTH) -> tuple[np.ndarray, dict[str, float]]:
    """Returns uint8 RGB [H, W, 3] without its noise, and what was estimated and done: `sigma` and `strength`.

    It is as strong as `strength` times the noise's sigma.

    Non-local means (Buades et al., CVPR 2005); the very pixels, and strength 0, where they are clean.
    """
    sigma = estimate(pixels)
    strength = strength * sigma if sigma >= LEAST_SIGMA else 0.0
    if strength:
        pixels = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, _PATCH, _SEARCH)
    return pixels, {"sigma": round(sigma, 2), "strength": round(strength, 2)}
