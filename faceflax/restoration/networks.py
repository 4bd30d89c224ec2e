"""The networks that work on people's images: read from workdirs, and compiled for batches of one size."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export  # a module that `import jax` leaves out
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax import models
from faceflax.errors import UserError
from faceflax.models import shipped
from faceflax.restoration.aligned import FindBatch
from faceflax.restoration.restorers import RestoreBatch
from faceflax.training import parallel, runtime
from faceflax.training import trained as trained_lib
from faceflax.training import workdir as workdir_lib
from faceflax.training.parallel import Parallel

DEFAULT = "cnn"  # of the models that come with the package

# Of the image's side, by which what was found is grown, so that no rim of it stays.
_MARGIN = 2 / 128


def load_restorer(model: str | Path, fidelity: float | None) -> trained_lib.Trained:
    """Reads a restorer by name or workdir; with a `fidelity` of 0 to 1, that between a GAN (0) and its CNN (1).

    Its CNN is the one that it was trained from; of a GAN that comes with the package the `cnn` that does, which may
    have been trained on since: the way between them stays straight (docs/restoring.md). Raises `UserError` when there
    is no such model, or `fidelity` is given and the model is not a GAN, its CNN is gone or of another model, or
    `fidelity` is out of range.
    """
    trained = trained_lib.load_restorer(model)
    if fidelity is None:
        return trained
    origin = trained.config.init_from
    if trained.config.arm != "gan" or not origin:
        raise UserError(
            f"--fidelity chooses between a GAN and the CNN that it was trained from, and {model} is no such GAN; "
            "leave it out or pass --model gan"
        )
    name, expert = trained_lib.named_expert(origin)
    if name not in shipped.names() and not Path(name).is_dir():
        raise UserError(
            f"--fidelity: the CNN that {model} was trained from is not at {origin}; bring it back, or start this "
            "command where the training was started"
        )
    if trained_lib.read_config(name).arm == "inversion":
        raise UserError(
            f"--fidelity: {model} was trained from a network that only finds styles, not a CNN; leave it out"
        )
    load = trained_lib.load_plain if expert else trained_lib.load_restorer
    cnn = load(origin, None if _is_trained_on(origin, model) else _origin_step(model))
    return trained_lib.between(cnn, trained, fidelity)


def _is_trained_on(origin: str, model: str | Path) -> bool:
    """Whether both come with the package, and behind `origin` is the very CNN that the GAN `model` was trained from."""
    if not {origin, str(model)} <= set(shipped.names()):
        return False
    return shipped.manifest(model)["before"][-1] in shipped.manifest(origin)["before"]


def _origin_step(model: str | Path) -> int:
    """The step of the checkpoint that a GAN's training started from."""
    return shipped.manifest(model)["origin"] if model in shipped.names() else workdir_lib.read_origin(Path(model))


def describe(model: str | Path, fidelity: float | None, trained: trained_lib.Trained) -> dict[str, Any]:
    """What is known of a restorer, as JSON: which network, of which training, and a fingerprint of its numbers."""
    leaves, is_shipped = jax.tree.leaves(trained.params), model in shipped.names()
    return {
        "model": model if is_shipped else Path(model).resolve().name,
        "network": trained.config.model.name,
        "arm": trained.config.arm,
        "size": trained.config.data.image_size,
        "parameters": sum(leaf.size for leaf in leaves),
        "fingerprint": fingerprint(trained.params),
        "fidelity": fidelity,
        **trained.info,
        "config": json.loads(config_lib.to_json(trained.config)),
        "manifest": trained_lib.read_manifest(model),
    }


def fingerprint(params: Any) -> str:
    """Returns the first 12 hex digits of the SHA-256 of all parameters and their names: what was restored with what."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path, simple=True, separator="/").encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()[:12]


def prepare_restorer(
    model: str | Path, fidelity: float | None, batch_size: int
) -> tuple[int, RestoreBatch, dict[str, Any]]:
    """Reads and compiles a restorer: its size, its function and what `describe` tells; raises as `load_restorer`."""
    runtime.start()
    trained = load_restorer(model, fidelity)
    devices = parallel.create({"data": -1, "fsdp": 1})
    restore = create_restorer(models.create(trained.config.model).apply, trained.params, devices, batch_size)
    return trained.config.data.image_size, restore, describe(model, fidelity, trained)


def describe_restorer(
    model: str | Path, fidelity: float | None
) -> tuple[Callable[[Array, Array], Array], int, dict[str, Any]]:
    """Reads a restorer to be exported: its function of images and masks, its size and what `describe` tells.

    Activations are float32 whatever it was trained in, as not every runtime knows bfloat16.
    """
    trained = load_restorer(model, fidelity)
    exact = ConfigDict(trained.config.model.to_dict() | {"dtype": "float32"})
    apply = models.create(exact).apply
    return (
        lambda image, mask: apply(trained.params, image, mask),
        trained.config.data.image_size,
        describe(model, fidelity, trained),
    )


def create_from_program(program: bytes, batch_size: int) -> RestoreBatch:
    """Returns the function of a StableHLO program, as `create_restorer` does."""
    runtime.start()
    return compile_function(jax.export.deserialize(bytearray(program)).call, batch_size)


def compile_function(function: Callable[[Array, Array], Array], batch_size: int) -> RestoreBatch:
    """As `create_restorer`, of a function of images and masks that has its parameters in itself."""
    devices = parallel.create({"data": -1, "fsdp": 1})
    return create_restorer(lambda params, image, mask: function(image, mask), (), devices, batch_size)


def create_restorer(
    apply: Callable[[Any, Array, Array], Array], params: Any, devices: Parallel, batch_size: int
) -> RestoreBatch:
    """Returns a function that restores up to `batch_size` images at once, padded to that number: compiled once."""
    run = create_runner(lambda params, batch: apply(params, batch["image"], batch["mask"]), params, devices, batch_size)
    return lambda image, mask: run({"image": image, "mask": mask})


def prepare_finder(workdir: Path, batch_size: int) -> FindBatch:
    """Reads and compiles the segmenter of a workdir; raises `UserError` when that holds none."""
    from faceflax.training import checkpoints

    runtime.start()
    trained = checkpoints.load_segmenter(workdir)
    segment = models.create_segmenter(trained.config.model).apply
    devices = parallel.create({"data": -1, "fsdp": 1})
    return create_finder(segment, trained.params, trained.config.data.image_size, devices, batch_size)


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
