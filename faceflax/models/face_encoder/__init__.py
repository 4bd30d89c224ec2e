"""Face encoders: image of a face -> unit vector; two images of one person have a large inner product.

`load(name)` gives an encoder and its parameters. An encoder's vectors are comparable with its own alone: whoever keeps
vectors keeps `name` and `version` beside them.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import jax

from faceflax import assets
from faceflax.errors import UserError
from faceflax.models import weights
from faceflax.models.face_encoder import compact, faceres

NAMES = ("faceres", "compact")
DEFAULT = "faceres"


@dataclasses.dataclass(frozen=True)
class FaceEncoder:
    """One network, and how faces reach it.

    Attributes:
      name: one of `NAMES`.
      version: a short hash of the weights, and of faceres also of how images reach it; vectors of two versions are not
        comparable.
      size: length of the vectors.
      image_size: pixels; the side of the crops that it expects.
      load: returns the parameters, in host memory; raises `UserError` when they cannot be had.
      embed: (params, RGB images float32 [B, H, W, 3] in [0, 1], aligned and framed as FFHQ's, best at `image_size`) ->
        unit vectors float32 [B, size]; pure, to be compiled by the caller.
    """

    name: str
    version: str
    size: int
    image_size: int
    load: Callable[[], Any]
    embed: Callable[[Any, jax.Array], jax.Array]


def create(name: str = DEFAULT) -> FaceEncoder:
    """Returns the encoder `name`, without its parameters; raises `UserError` for a name not in `NAMES`."""
    if name == "faceres":
        sources = (assets.FACERES_JSON, assets.FACERES_BIN)
        return FaceEncoder(
            name=name,
            version=short_hash("whole crop", *(source.sha256 for source in sources)),
            size=faceres.DIMENSION,
            image_size=faceres.SIZE,
            load=faceres.load,
            embed=faceres.embed,
        )
    if name == "compact":
        shape = weights.read_manifest(compact.FILE)["config"]["encoder"]
        return FaceEncoder(
            name=name,
            version=compact.version(),
            size=shape["dimension"],
            image_size=shape["size"],
            load=compact.load,
            embed=compact.embed,
        )
    raise UserError(f"there is no face encoder {name!r}; choose one of {', '.join(NAMES)}")


def load(name: str = DEFAULT) -> tuple[FaceEncoder, Any]:
    """Returns the encoder `name` and its parameters; raises `UserError` where `create` or its `load` does."""
    encoder = create(name)
    return encoder, encoder.load()


def short_hash(*parts: str) -> str:
    """Returns eight hexadecimal digits that stand for the texts in their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
