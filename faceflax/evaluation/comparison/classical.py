"""Classical methods as people run them: OpenCV, scikit-image, Pillow and the package bm3d, on uint8 RGB images.

Every method is `(image [S, S, 3], mask [S, S], known) -> restored [S, S, 3]`, 0 to 255, rounded or not. Where a
strength had to be chosen, it was chosen by mean PSNR on the first training faces of `mini_faces` under this package's
damage (16 faces, of slow methods 8).
"""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from skimage import restoration

from faceflax.evaluation import baselines
from faceflax.evaluation.comparison import damage
from faceflax.evaluation.comparison.damage import Known

Restore = Callable[[np.ndarray, np.ndarray, Known], np.ndarray]
Deconvolve = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (channel, kernel) -> channel


def _unit(image: np.ndarray) -> float:
    return len(image) / 128


def lanczos(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """The small face enlarged by Pillow's Lanczos filter (the input itself is enlarged by its bicubic one)."""
    return damage.resize(known.small, len(image), Image.Resampling.LANCZOS)


def estimated_sigma(image: np.ndarray) -> float:
    """Returns the deviation of the noise, of 255, by the median of wavelet coefficients (Donoho, Biometrika 1994)."""
    return 255 * float(restoration.estimate_sigma(image / 255, average_sigmas=True, channel_axis=-1))


def told(image: np.ndarray, known: Known) -> float:
    """Returns the known deviation."""
    return known.sigma


def estimated(image: np.ndarray, known: Known) -> float:
    """Returns the estimated deviation, whatever is known."""
    return estimated_sigma(image)


Sigma = Callable[[np.ndarray, Known], float]


def nlm(sigma: Sigma) -> Restore:
    """Non-local means by OpenCV, as `baselines.non_local_means`."""
    return lambda image, mask, known: baselines.non_local_means(image, mask, sigma(image, known))


def nlm_scikit(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Non-local means by scikit-image, which subtracts the noise from the distances of patches; sigma known."""
    sigma = known.sigma / 255
    kept = {"patch_size": 5, "patch_distance": 8, "fast_mode": True, "channel_axis": -1}
    return 255 * restoration.denoise_nl_means(image / 255, h=0.5 * sigma, sigma=sigma, **kept)


def bm3d(sigma: Sigma) -> Restore:
    """BM3D of colour images (Dabov et al., ICIP 2007) by the package of its authors' group."""

    def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
        from bm3d import bm3d_rgb

        return 255 * bm3d_rgb(image / 255, max(sigma(image, known), 0.3) / 255)  # less is rounding

    return restore


def total_variation(weight: Callable[[Known], float]) -> Restore:
    """Total variation (Rudin, Osher and Fatemi, Physica D 1992) by Chambolle's algorithm."""

    def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
        return 255 * restoration.denoise_tv_chambolle(image / 255, weight=weight(known), channel_axis=-1)

    return restore


def wavelet(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """BayesShrink (Chang et al., IEEE TIP 2000) in YCbCr by scikit-image, sigma known."""
    kept = {"method": "BayesShrink", "mode": "soft", "convert2ycbcr": True, "channel_axis": -1}
    return 255 * restoration.denoise_wavelet(image / 255, sigma=known.sigma / 255, rescale_sigma=True, **kept)


def bilateral_jpeg(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """The bilateral filter of the project's own tables, by the quality."""
    return baselines.bilateral_jpeg(image, mask, known.quality)


def bilateral(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """A light bilateral filter, as in the project's own tables."""
    return baselines.bilateral(image, mask, 0)


def wiener(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """The Wiener filter of the project's own tables, with the true kernel.

    Without noise it needs more regularity all the same: what lies beyond the borders is not what it takes it for.
    """
    pad = len(known.kernel)
    made = baselines.wiener(_extended(image, pad), known.kernel, 0.2 if known.sigma else 1.0)
    return made[pad:-pad, pad:-pad]


def wiener_estimated(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """The same for a line of known length whose angle is estimated."""
    return baselines.wiener_line(image, mask, known.length / _unit(image))


def _extended(image: np.ndarray, pad: int) -> np.ndarray:
    """The image with its borders repeated outwards."""
    return cv2.copyMakeBorder(image, *(pad,) * 4, cv2.BORDER_REPLICATE)


def _deconvolved(
    image: np.ndarray, kernel: np.ndarray, one: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """`one(channel, kernel)` for each channel in [0, 1], its borders extended by the kernel's side."""
    pad = len(kernel)
    extended = _extended(image, pad) / 255
    made = np.stack([one(extended[..., channel], kernel) for channel in range(3)], axis=-1)
    return 255 * made[pad:-pad, pad:-pad]


def wiener_scikit(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Wiener-Hunt deconvolution by scikit-image with the true kernel."""
    balance = 0.01 if known.sigma else 0.3
    return _deconvolved(image, known.kernel, lambda channel, kernel: restoration.wiener(channel, kernel, balance))


def richardson_lucy(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Richardson-Lucy deconvolution by scikit-image with the true kernel, stopped before the borders ripple."""
    steps = 30 if known.sigma else 10
    return _deconvolved(
        image, known.kernel, lambda channel, kernel: restoration.richardson_lucy(channel, kernel, num_iter=steps)
    )


def clahe(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Contrast-limited histogram equalisation of the lightness by OpenCV."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=16.0, tileGridSize=(1, 1)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def auto_gamma(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Stretched to full range, then the gamma that makes the mean 0.45, as cameras and editors brighten; blind."""
    stretched = np.clip(image / max(1.0, float(np.percentile(image, 99.5))), 0, 1)
    middle = float(np.clip(stretched.mean(), 1e-3, 0.99))
    return 255 * stretched ** (np.log(0.45) / np.log(middle))


def inverse_light(denoise: Restore) -> Restore:
    """Noise removed, then the known exposure and gamma undone."""

    def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
        exposure, gamma = known.light
        light = np.maximum(denoise(image, mask, known), 0) / (255 * exposure)
        return 255 * light ** (1 / gamma)

    return restore


def nlm_strong(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Non-local means at three times its usual strength: the inverse of a gamma magnifies noise in what is dark."""
    return baselines.non_local_means(image, mask, 21 / 5 * known.sigma)


def telea(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Fast marching inpainting by OpenCV at the radius of the project's own tables for large holes."""
    return baselines.telea_wide(image, mask, 0)


def navier_stokes(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Inpainting along lines of equal brightness (Bertalmio et al., CVPR 2001) by OpenCV."""
    return cv2.inpaint(image, mask, 16 * _unit(image), cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Inpainting by the biharmonic equation, by scikit-image."""
    return 255 * restoration.inpaint_biharmonic(image / 255, mask > 0, channel_axis=-1)
