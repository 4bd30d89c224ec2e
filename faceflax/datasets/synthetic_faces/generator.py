"""Random numbers to faces: MobileStyleGAN's published weights, run by OpenVINO on the CPU.

MobileStyleGAN: Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image
Synthesis", 2021. The weights are in the package random-face (Apache-2.0), distilled from a generator trained on FFHQ.
"""

from types import ModuleType
from typing import Any

import numpy as np

from faceflax import assets
from faceflax.errors import UserError

SIDE = 1024  # pixels of the network's images
MEAN_SEED = 12345
MEAN_DRAWS = 4096
PSI = (0.55, 0.95)  # truncation is drawn uniformly: nearer to 0 lies the mean face, beyond 1 artefacts


class FaceGenerator:
    """Makes face i of a seed; fetches the weights (36 MB) at first use.

    Raises `UserError` when OpenVINO is not installed or the weights cannot be fetched.
    """

    def __init__(self) -> None:
        core = _openvino().Core()
        for asset in (assets.MAPPING_BIN, assets.SYNTHESIS_BIN):
            assets.fetch(asset)
        mapping = core.read_model(assets.fetch(assets.MAPPING_XML))
        synthesis = core.read_model(assets.fetch(assets.SYNTHESIS_XML))
        mapping.reshape({"var": [-1, 512]})
        self._mapping = _compile(core, mapping)
        self._synthesis = _compile(core, synthesis)
        draws = np.random.default_rng(MEAN_SEED).standard_normal((MEAN_DRAWS, 512)).astype(np.float32)
        self._mean = self._mapping(draws)[0].mean(axis=0, keepdims=True)

    def __call__(self, seed: int, number: int, size: int) -> np.ndarray:
        """Returns uint8 [size, size, 3] RGB, a function of the arguments alone; `size` is at most 1024."""
        rng = np.random.default_rng([seed, number])
        z = rng.standard_normal((1, 512)).astype(np.float32)
        psi = rng.uniform(*PSI)
        style = (self._mean + psi * (self._mapping(z)[0] - self._mean)).astype(np.float32)
        image = self._synthesis(style)[0][0].transpose(1, 2, 0)
        return shrink(_round(image * 127.5 + 127.5), size)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Returns `image`, uint8 [S, S, 3], at `size` <= S by an antialiased Lanczos-3 filter, as Pillow does it.

    Columns first, then rows, and 8 bits between the two: so a pixel differs from Pillow's by 1 at most.
    """
    if size == image.shape[0]:
        return image
    weights = _lanczos(image.shape[0], size)
    columns = _round(np.einsum("ox,yxc->yoc", weights, image.astype(np.float32), optimize=True))
    return _round(np.einsum("oy,yxc->oxc", weights, columns.astype(np.float32), optimize=True))


def _round(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _lanczos(length: int, size: int) -> np.ndarray:
    """Returns [size, length] whose rows weigh the input's samples; the filter is stretched by length / size."""
    scale = length / size
    centres = (np.arange(size)[:, None] + 0.5) * scale
    x = (np.arange(length)[None, :] + 0.5 - centres) / scale
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _openvino() -> ModuleType:
    try:
        import openvino
    except ImportError as error:
        raise UserError("making synthetic faces needs OpenVINO: pip install 'faceflax[synth]'") from error
    return openvino


def _compile(core: Any, model: Any) -> Any:
    # Some CPUs default to bfloat16: faces would depend on the machine (36 to 41 dB apart), and be no sooner made.
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
