"""A network that restores faces, whatever it is stored in: a workdir, StableHLO or ONNX. Imports jax where it must."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceflax.errors import UserError
from faceflax.preprocessing import headers, pillow

_FIRST_BYTES = 64  # in which every picture says what it is
# (images float32 [n, S, S, 3] in [0, 1], masks float32 [n, S, S, 1]) -> restored float32 [n, S, S, 3], not clipped
RestoreBatch = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Restorer(NamedTuple):
    """A network, ready to run.

    Attributes:
      size: the side of its images in pixels, S.
      restore: restores up to as many images at once as it was loaded for.
      description: what is known of it: "fingerprint", "size", "arm", "step", "manifest" and more, all JSON.
    """

    size: int
    restore: RestoreBatch
    description: dict[str, Any]


def check_finite(restored: np.ndarray) -> None:
    """Raises `ValueError` where a network's output is not finite."""
    if not np.isfinite(restored).all():
        raise ValueError(
            "the model's output is not finite, as it is damaged or was trained badly; choose another model"
        )


def check(model: str | None, fidelity: float | None) -> None:
    """Raises `UserError` for what `load` is sure not to take, without reading the model: before anything is fetched."""
    if model is None:
        return
    path = Path(model)
    if path.is_file():
        try:
            with path.open("rb") as file:
                start = file.read(_FIRST_BYTES)
        except OSError as error:
            raise UserError(f"--model {path}: cannot be read: {error.strerror}; check its permissions") from error
        if headers.is_known(start) or pillow.needs_pillow(start):
            raise UserError(f"--model {path}: is a picture; name a model, its workdir or a file of faceflax export")
        if fidelity is not None:
            raise UserError(
                f"--fidelity cannot be chosen for {path}, in which it is settled: leave it out, or pass --model the "
                "workdir of the GAN that the file was exported from"
            )
    elif not (path / "config.json").is_file():  # what else it may be needs jax, whose import takes a second
        from faceflax.models import shipped
        from faceflax.training import workdir

        if model not in shipped.names():
            shipped.check(model)
            workdir.read_config(path)


def average_mirrored(restorer: Restorer) -> Restorer:
    """Returns one whose result is the mean of the image's and of its mirror image's, mirrored back: twice the work.

    The two err differently, and the mean errs less (the self-ensemble of Timofte et al., CVPR 2016, section 3.4; faces
    are upright, so that of its eight views two are like what was trained on).
    """

    def restore(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        mirrored = restorer.restore(images[:, :, ::-1], masks[:, :, ::-1])
        return (restorer.restore(images, masks) + mirrored[:, :, ::-1]) / 2

    return restorer._replace(restore=restore, description=restorer.description | {"mirror": True})


def load(model: str | None, fidelity: float | None, batch_size: int) -> Restorer:
    """Reads the model that `--model` names: one that comes with faceflax, a workdir, or a file of `faceflax export`.

    Args:
      model: its name or path; None: the default one.
      fidelity: see `networks.load_restorer`; None for a file, in which it is settled.
      batch_size: the most images that are restored at once.

    Raises:
      UserError: there is no such model, it is damaged, or what runs it is not installed.
    """
    check(model, fidelity)
    if model is not None and Path(model).is_file():
        from faceflax.restoration import exported

        return Restorer(*exported.load(Path(model), batch_size))
    from faceflax.models import shipped
    from faceflax.restoration import networks

    if model is None and networks.DEFAULT not in shipped.names():
        raise UserError("no trained model comes with this version of faceflax; pass --model the workdir of one")
    return Restorer(*networks.prepare_restorer(model or networks.DEFAULT, fidelity, batch_size))
