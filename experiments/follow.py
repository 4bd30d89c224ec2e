"""Moves a GAN that ships along with its CNN: python -m experiments.follow --gan=gan --cnn_before=cnn.safetensors.

A GAN that was shipped with --fidelity lies that part of the way to each expert of the CNN. When the CNN ships anew the
GAN is moved by this part of what the CNN was moved by, to where shipping its workdir again would put it. --cnn_before
is the CNN as it shipped before: git show HEAD:faceflax/models/shipped/cnn.safetensors > cnn.safetensors
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import program
from faceflax.errors import UserError

_GAN = flags.DEFINE_string("gan", "gan", "The GAN that ships.")
_BEFORE = flags.DEFINE_string("cnn_before", None, "The file of the CNN that shipped before.")
_INT8 = flags.DEFINE_bool("int8", True, "Hold kernels in eight bits, as experiments.ship --eight_bits.")
flags.mark_flag_as_required("cnn_before")


def main() -> None:
    """Moves by the flags."""
    path = follow(_GAN.value, Path(_BEFORE.value), eight_bits=_INT8.value)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


def follow(name: str, before: Path, *, eight_bits: bool) -> Path:
    """Writes the shipped GAN `name` anew, moved from its CNN of the file `before` to the one that ships now.

    Raises `UserError` when it was shipped without a fidelity, or one of the three has other experts, or
    `weights.read` does.
    """
    from faceflax.models import experts, shipped, weights

    gan, manifest = weights.read(shipped.path(name))
    if not manifest.get("fidelity"):
        raise UserError(f"{name} was shipped without --fidelity: it lies on no way to a CNN, and stays where it is")
    old = weights.read(before)
    new = weights.read(shipped.path(manifest["config"]["init_from"]))
    named = [each["config"]["model"]["experts"] for each in (manifest, old.manifest, new.manifest)]
    if not named[0] == named[1] == named[2]:
        raise UserError(f"{name} and its CNNs have other experts than each other ({named}); ship its workdir again")

    def moved(gan: Any, old: Any, new: Any) -> Any:
        return gan + np.float32(manifest["fidelity"]) * (new - old)

    params = jax.tree.map(moved, gan, old.params, new.params)
    if experts.ROUTER in params:
        params[experts.ROUTER] = new.params[experts.ROUTER]
    manifest["config"]["model"] = new.manifest["config"]["model"]
    dtype = np.int8 if eight_bits else np.float16
    weights.write(shipped.path(name), params, manifest, dtype, finer=(experts.ROUTER,))
    return shipped.path(name)


if __name__ == "__main__":
    program.run(main)
