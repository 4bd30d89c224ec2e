"""What a face is restored with in a comparison: every alternative by name, what it needs, and what it is told."""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from faceflax.assets import Asset
from faceflax.errors import UserError
from faceflax.evaluation.comparison import classical as c
from faceflax.evaluation.comparison import mean_face, networks
from faceflax.evaluation.comparison.classical import Restore

INPUT = "input"
"""The damaged face itself, which stands beside all methods."""

NOISY, BLURRED, HOLED = ("noise",), ("blur", "motion"), ("box", "mask")


@dataclasses.dataclass(frozen=True)
class Alternative:
    """A way of restoring that people have without this project.

    Attributes:
      title: for people.
      told: what it knows beside the image (and of a hole, its place); "" for nothing.
      tasks: names of the tasks that it is for.
      load: returns the function that restores one face; it is given the training faces' mean [S, S, 3], 0 to 255.
      packages: distributions that it is made of, with their module: {"scikit-image": "skimage"}.
      licence: of what it runs.
      assets: files of weights.
      megabytes: what they take; 0: there are none.
    """

    title: str
    told: str
    tasks: tuple[str, ...]
    load: Callable[[np.ndarray], Restore]
    packages: Mapping[str, str]
    licence: str
    assets: Sequence[Asset] = ()
    megabytes: float = 0.0

    @property
    def missing(self) -> list[str]:
        """The distributions that are not installed."""
        return [name for name, module in self.packages.items() if importlib.util.find_spec(module) is None]

    @property
    def made_from(self) -> dict[str, Any]:
        """What decides its results, beside this project's code: versions of packages, and digests of weights."""
        versions = {name: metadata.version(name) for name in self.packages}
        return {"packages": versions, "weights": [asset.sha256 for asset in self.assets]}

    @property
    def source(self) -> str:
        """Where it comes from: packages with their versions where they are installed, and those of weights."""
        named = [name if self.missing else f"{name} {metadata.version(name)}" for name in self.packages]
        return ", ".join([*named, *dict.fromkeys(asset.requirement for asset in self.assets)])


_CV2 = {"opencv-python-headless": "cv2"}
_SKIMAGE = {"scikit-image": "skimage"}
_BM3D = {"bm3d": "bm3d"}
_APACHE, _BSD, _TAU = "Apache-2.0", "BSD-3-Clause", "non-commercial (Tampere University)"


def _of(restore: Restore) -> Callable[[np.ndarray], Restore]:
    return lambda mean: restore


def _tv(weight: Callable[[c.Known], float]) -> Callable[[np.ndarray], Restore]:
    return _of(c.total_variation(weight))


ALTERNATIVES: dict[str, Alternative] = {
    "lanczos": Alternative("Lanczos", "the factor", ("sr",), _of(c.lanczos), {"pillow": "PIL"}, "MIT-CMU"),
    "nlm": Alternative("NLM, OpenCV", "sigma", NOISY, _of(c.nlm(c.told)), _CV2, _APACHE),
    "nlm_scikit": Alternative("NLM, scikit-image", "sigma", NOISY, _of(c.nlm_scikit), _SKIMAGE, _BSD),
    "nlm_blind": Alternative(
        "NLM, sigma estimated", "", (*NOISY, "jpeg", "blind"), _of(c.nlm(c.estimated)), _CV2 | _SKIMAGE, _APACHE
    ),
    "bm3d": Alternative("BM3D", "sigma", NOISY, _of(c.bm3d(c.told)), _BM3D, _TAU),
    "bm3d_blind": Alternative(
        "BM3D, sigma estimated", "", ("noise", "blind"), _of(c.bm3d(c.estimated)), _BM3D | _SKIMAGE, _TAU
    ),
    "tv": Alternative("total variation", "sigma", NOISY, _tv(lambda known: known.sigma / 255), _SKIMAGE, _BSD),
    "tv_light": Alternative("total variation, light", "", ("jpeg", "blind"), _tv(lambda known: 0.02), _SKIMAGE, _BSD),
    "wavelet": Alternative("wavelet (BayesShrink)", "sigma", NOISY, _of(c.wavelet), _SKIMAGE, _BSD),
    "wiener": Alternative("Wiener, true kernel", "kernel, sigma", BLURRED, _of(c.wiener), _CV2, _APACHE),
    "wiener_scikit": Alternative(
        "Wiener, true kernel, scikit-image", "kernel, sigma", BLURRED, _of(c.wiener_scikit), _SKIMAGE, _BSD
    ),
    "wiener_angle": Alternative(
        "Wiener, angle estimated", "length", ("motion",), _of(c.wiener_estimated), _CV2, _APACHE
    ),
    "richardson_lucy": Alternative(
        "Richardson-Lucy, true kernel", "kernel", BLURRED, _of(c.richardson_lucy), _SKIMAGE, _BSD
    ),
    "bilateral": Alternative("bilateral", "quality", ("jpeg",), _of(c.bilateral_jpeg), _CV2, _APACHE),
    "bilateral_light": Alternative("bilateral, light", "", ("blind",), _of(c.bilateral), _CV2, _APACHE),
    "clahe": Alternative("CLAHE", "", ("lowlight",), _of(c.clahe), _CV2, _APACHE),
    "gamma": Alternative("stretch and gamma", "", ("lowlight",), _of(c.auto_gamma), {"numpy": "numpy"}, _BSD),
    "nlm_inverse": Alternative(
        "NLM + true inverse", "curve, sigma", ("lowlight",), _of(c.inverse_light(c.nlm_strong)), _CV2, _APACHE
    ),
    "bm3d_inverse": Alternative(
        "BM3D + true inverse", "curve, sigma", ("lowlight",), _of(c.inverse_light(c.bm3d(c.told))), _BM3D, _TAU
    ),
    "telea": Alternative("Telea", "", HOLED, _of(c.telea), _CV2, _APACHE),
    "navier_stokes": Alternative("Navier-Stokes", "", HOLED, _of(c.navier_stokes), _CV2, _APACHE),
    "biharmonic": Alternative("biharmonic", "", HOLED, _of(c.biharmonic), _SKIMAGE, _BSD),
    "mean_face": Alternative(
        "mean face blended in",
        "the mean of training faces",
        HOLED,
        lambda mean: functools.partial(mean_face.blend, mean),
        {"scipy": "scipy"},
        _BSD,
    ),
    **{
        name: Alternative(
            "Real-ESRGAN x4plus",
            told,
            tasks,
            networks.upscaler(functools.partial(networks.load_ncnn, networks.REALESRGAN)),
            {"ncnn": "ncnn"},
            _BSD,
            networks.REALESRGAN,
            33.5,
        )
        for name, told, tasks in (("realesrgan", "the factor", ("sr",)), ("realesrgan_blind", "", ("blind",)))
    },
    "span": Alternative(
        "SPAN x4",
        "the factor",
        ("sr",),
        networks.upscaler(functools.partial(networks.load_ncnn, networks.SPAN)),
        {"ncnn": "ncnn"},
        "BSD-3-Clause or GPL-3",
        networks.SPAN,
        1.0,
    ),
    "esrgan_thick": Alternative(
        "ESRGAN-thick x4",
        "the factor",
        ("sr",),
        networks.upscaler(networks.load_esrgan_thick),
        {},
        "MIT",
        (networks.ESRGAN_THICK,),
        29.0,
    ),
    **{
        f"maxim_{short}": Alternative(
            f"MAXIM {name}",
            "",
            tasks,
            networks.same_size(functools.partial(networks.load_maxim, name)),
            {},
            "MIT; weights Apache-2.0",
            (networks.MAXIM[name],),
            megabytes,
        )
        for short, name, tasks, megabytes in (
            ("denoise", "denoising", NOISY, 88.9),
            ("deblur", "deblurring", BLURRED, 88.9),
            ("enhance", "enhancement", ("lowlight",), 56.7),
        )
    },
}
"""By the name of their cells, classical ones first; a task's tables sort them by what they reach."""


def choose(names: Sequence[str]) -> dict[str, Alternative]:
    """Returns the alternatives of these names, all for none; raises `UserError` for a name that is none."""
    unknown = [name for name in names if name not in ALTERNATIVES]
    if unknown:
        raise UserError(f"config.alternatives: there is no {unknown[0]!r}; choose among {', '.join(ALTERNATIVES)}")
    return {name: ALTERNATIVES[name] for name in names or ALTERNATIVES}
