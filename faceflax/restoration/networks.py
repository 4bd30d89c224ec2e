"""The networks that work on people's images: read from workdirs, and compiled for batches of one size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from faceflax.errors import UserError
from faceflax.models import shipped
from faceflax.models.interpolation import interpolate
from faceflax.restoration.aligned import FindBatch, RestoreBatch
from faceflax.training import checkpoints
from faceflax.training import workdir as workdir_lib
from faceflax.training.parallel import Parallel

DEFAULT = "cnn"  # of the models that come with the package

# Of the image's side, by which what was found is grown, so that no rim of it stays.
_MARGIN = 2 / 128


def load_restorer(model: str | Path, fidelity: float | None) -> checkpoints.Trained:
    """Reads a restorer by name or workdir; with a `fidelity` of 0 to 1, that between a GAN (0) and its CNN (1).

    Its CNN is the one that it was trained from. Raises `UserError` when there is no such model, or `fidelity` is given
    and the model is not a GAN, its CNN is gone or of another model, or `fidelity` is out of range.
    """
    trained = checkpoints.load_restorer(model)
    if fidelity is None:
        return trained
    origin = trained.config.init_from
    if trained.config.arm != "gan" or not origin:
        raise UserError(
            f"--fidelity chooses between a GAN and the CNN that it was trained from; {model} is no such GAN"
        )
    if origin not in shipped.names() and not Path(origin).is_dir():
        raise UserError(
            f"--fidelity: the CNN that {model} was trained from is not at {origin}; bring it back, or start this "
            "command where the training was started"
        )
    cnn = checkpoints.load_restorer(origin, _origin_step(model))
    return trained._replace(params=interpolate(cnn.params, trained.params, fidelity))


def _origin_step(model: str | Path) -> int:
    """The step of the checkpoint that a GAN's training started from."""
    return shipped.manifest(model)["origin"] if model in shipped.names() else workdir_lib.read_origin(Path(model))


def create_restorer(
    apply: Callable[[Any, Array, Array], Array], params: Any, devices: Parallel, batch_size: int
) -> RestoreBatch:
    """Returns a function that restores up to `batch_size` images at once, padded to that number: compiled once."""
    run = create_runner(lambda params, batch: apply(params, batch["image"], batch["mask"]), params, devices, batch_size)
    return lambda image, mask: run({"image": image, "mask": mask})


def create_finder(
    apply: Callable[[Any, Array], Array], params: Any, size: int, devices: Parallel, batch_size: int
) -> FindBatch:
    """Returns a function that finds what covers the faces of up to `batch_size` images at once, of any size.

    The segmenter `apply(params, images) -> logits` works at `size` pixels, whatever the images' size. What it finds
    is grown by 2 pixels at 128.
    """

    def search(params: Any, batch: dict[str, Array]) -> Array:
        image = batch["image"]
        count, side = image.shape[:2]
        logits = apply(params, jax.image.resize(image, (count, size, size, 3), "linear"))
        found = jax.image.resize(logits, (count, side, side, 1), "linear")[..., 0] > 0
        window = 2 * max(1, round(_MARGIN * side)) + 1
        return lax.reduce_window(found, False, jnp.logical_or, (1, window, window), (1, 1, 1), "SAME")

    run = create_runner(search, params, devices, batch_size)
    return lambda image: run({"image": image})


def create_runner(
    function: Callable[[Any, dict[str, Array]], Array], params: Any, devices: Parallel, batch_size: int
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Returns `function(params, batch)` for batches of up to `batch_size` images, padded to that: compiled once."""
    batch_size = -(-batch_size // devices.num_devices) * devices.num_devices
    params = devices.replicate(params)
    compiled = devices.compile_batched(function)

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        count = len(batch["image"])
        padded = {name: np.pad(value, [(0, batch_size - count), *[(0, 0)] * 3]) for name, value in batch.items()}
        return np.asarray(compiled(params, devices.shard_batch(padded)))[:count]

    return run
