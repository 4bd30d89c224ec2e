"""Training data without a data set: every step makes its batch on the devices, with the face prior.

Face i of step t is a function of (seed, t, i): nothing is read or decoded, a resumed run sees what an uninterrupted one
would have seen, and no face depends on the number of devices or processes. No face is ever seen twice.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from faceflax import assets
from faceflax.errors import UserError
from faceflax.models import face_prior
from faceflax.models.face_prior import heads, sampling, synthesis
from faceflax.training.state import Arm, Collectives, Metrics, TrainState

NAME = "prior"
"""`config.data.source` that asks for it."""


def feed(arm: Arm, config: ConfigDict, collectives: Collectives) -> Arm:
    """Returns `arm` with a step that takes the batch's `index` alone, and makes its `image`, uint8 [B, S, S, 3].

    For an arm that asks for them it makes the faces' `style` as well, float32 [B, 512].

    Raises `UserError` for a size that the prior has no way to, and for augmentations that are a dataset's.
    """
    size = config.data.image_size
    if size not in synthesis.SIZES:
        sizes = ", ".join(map(str, synthesis.SIZES))
        raise UserError(f'config.data.image_size is {size}: with data.source "{NAME}" choose one of {sizes}')
    for field, plain in (("crop", 1), ("tones", 0), ("grey", 0)):
        if config.data[field] != plain:
            raise UserError(
                f'config.data.{field} is {config.data[field]}: with data.source "{NAME}" it must be {plain}'
            )
    if unknown := set(arm.features) - {"style"}:
        raise UserError(f'faces of data.source "{NAME}" come without {", ".join(unknown)}; use a dataset for this arm')
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        make = collectives.map_images(
            lambda index: _draw(networks["prior"], jax.random.fold_in(key, state.step), index, config)
        )
        image, style = make(batch["index"])
        made = {"image": image, "style": style, "index": batch["index"]}
        return arm.step(state, {name: made[name] for name in ("image", "index", *arm.features)}, networks["arm"])

    # The examples that `arm.prepare` would describe do not exist.
    load_networks = lambda: {"arm": arm.load_networks(), "prior": face_prior.load()}  # noqa: E731
    return arm._replace(step=step, load_networks=load_networks, prepare=lambda source: source)


def _draw(params: Any, key: jax.Array, index: jax.Array, config: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """Returns faces, uint8 [B, S, S, 3], and the styles [B, 512] that they were made from, before any was mirrored."""
    face_key, flip_key = jax.random.split(key)
    styles = sampling.draw_styles(params, face_key, index)
    faces = sampling.make_faces(params, styles, config.data.image_size)
    if not config.data.flip:
        return faces, styles
    is_flipped = jax.vmap(lambda i: jax.random.bernoulli(jax.random.fold_in(flip_key, i)))(index)
    return jnp.where(is_flipped[:, None, None, None], faces[:, :, ::-1], faces), styles


def index_stream(batch_size: int, process_index: int, process_count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields without end this process's share of the positions in a batch: `index`, int32 [batch_size / count].

    Raises `UserError` when the batch does not divide among the processes.
    """
    if batch_size % process_count:
        raise UserError(f"a batch of {batch_size} does not divide among {process_count} processes; change batch_size")
    return itertools.repeat({"index": np.arange(process_index, batch_size, process_count, dtype=np.int32)})


def fingerprint() -> str:
    """12 hex digits over what decides the faces besides the seed: the networks' files and how they are drawn."""
    digest = hashlib.sha256("".join(asset.sha256 for asset in assets.FACE_PRIOR).encode())
    digest.update(heads.FILE.read_bytes())
    digest.update(str(sampling.PSI).encode())
    return digest.hexdigest()[:12]
