"""Puts a trained network into the package: python -m experiments.ship --workdir=runs/pretrain/cnn --name=cnn.

Writes `faceflax/models/shipped/NAME.safetensors`: the averaged parameters of the workdir's best checkpoint, rounded to
float16 (with --eight_bits, kernels to int8), with the manifest of what made them. A GAN needs the CNN that it was
trained from to be shipped before it (but for one with the face prior inside, which starts from no CNN); with --fidelity
its weights are interpolated with that CNN's, which takes away much of a GAN's texture and little of what it gains
(docs/restoring.md has the curve).
A face encoder can have the name `compact` alone, and lies where `faceflax.models.face_encoder` looks for it.
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import history, program
from faceflax.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder that the network was trained in.")
_NAME = flags.DEFINE_string("name", None, "The name that `faceflax restore --model` will know it by.")
_FIDELITY = flags.DEFINE_float(
    "fidelity", 0.0, "Of a GAN: how far its weights are moved towards the CNN that it was trained from.", 0, 1
)
_EIGHT_BITS = flags.DEFINE_bool("eight_bits", False, "Hold kernels in eight bits: half the file.")
_FINE_ROUTER = flags.DEFINE_bool("fine_router", False, "With --eight_bits, hold the router between experts in 16.")
_LICENCE = flags.DEFINE_string(
    "licence",
    "Apache-2.0; trained on faces made by a network that was distilled from a generator of FFHQ faces, whose own "
    "licence (CC BY-NC-SA 4.0) is non-commercial",
    "What the weights may be used for.",
)
flags.mark_flags_as_required(["workdir", "name"])

_PRIOR_LICENCE = "of the package random-face (Apache-2.0)"


def main() -> None:
    """Ships by the flags."""
    from faceflax.training import runtime

    runtime.start()
    path = ship(
        Path(_WORKDIR.value),
        _NAME.value,
        _LICENCE.value,
        _FIDELITY.value,
        eight_bits=_EIGHT_BITS.value,
        fine_router=_FINE_ROUTER.value,
    )
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


def ship(
    folder: Path,
    name: str,
    licence: str,
    fidelity: float = 0.0,
    *,
    eight_bits: bool = False,
    fine_router: bool = False,
) -> Path:
    """Writes the network of the workdir `folder` into the package under `name`, and returns the file.

    Of a GAN with a `fidelity` above 0 it writes the weights that lie so far on the way to its CNN. Raises `UserError`
    when the workdir holds neither restorer nor face encoder, a GAN whose CNN is not the one that is shipped or of which
    it is one expert, a face encoder and the name is not `compact`, or no GAN and there is a `fidelity`.
    """
    from faceflax.models import experts, shipped, weights
    from faceflax.models.face_encoder import compact
    from faceflax.training import checkpoints, monitors, tracking, workdir
    from faceflax.training import trained as trained_lib

    is_encoder = workdir.read_config(folder).arm == "encoder"
    if is_encoder != (name == compact.NAME):
        raise UserError(f'"{compact.NAME}" is the name of the face encoder and of nothing else; choose another --name')
    trained = (checkpoints.load_face_encoder if is_encoder else checkpoints.load_for_inference)(folder)
    made, config, params = workdir.read_manifest(folder), trained.config, trained.params
    if config.arm == "gan" and trained_lib.named_expert(config.init_from)[1]:
        raise UserError(f"{folder} holds one expert of a GAN; ship it with experiments.ship_gan --experts={folder}")
    if fidelity and config.arm != "gan":
        raise UserError(f"--fidelity lies between a GAN and its CNN; {folder} holds no GAN: leave it out")
    manifest = history.last_start(made) | {
        "starts": 1 + len(made.get("resumed", [])),
        "kind": config.arm,
        "config": config.to_dict(),
        "dataset": made["dataset"] | {"split": config.data.train_split},
        "step": trained.info["step"],
        "metrics": trained.info["metrics"],
        "licence": licence,
        "before": history.before(folder, config),
        **_seconds(folder),
    }
    if config.model.name == "face_prior":
        params, place = _without_published(config, params)
        manifest["licence"] = f"{licence}; the generator itself, {_PRIOR_LICENCE}, is {place}"
    if config.arm == "gan":
        if fidelity or config.model.name != "face_prior":
            cnn, known = _origin(folder, config)
            between = trained_lib.between(cnn, trained, fidelity)
            params = between.params
            manifest |= known | {"fidelity": fidelity}
            manifest["config"]["model"] = between.config.model.to_dict()
        lines = tracking.read_metrics(folder, f"train/{monitors.NAMES[0]}")
        manifest["monitors"] = monitors.course(lines, trained.info["step"])
    manifest["config"]["data"]["folder"] = ""  # a place on the machine that trained it
    path = compact.FILE if is_encoder else shipped.path(name)
    finer = (experts.ROUTER,) if fine_router else ()
    weights.write(path, params, manifest, np.int8 if eight_bits else np.float16, finer)
    return path


def _without_published(config: Any, params: Any) -> tuple[Any, str]:
    """The parameters without those of the face prior where they are the published ones, and where the prior is."""
    from faceflax.models.face_prior import restorer

    published = restorer.load_prior(config.data.image_size)
    own = {name: value for name, value in params.items() if name not in published}
    pairs = jax.tree.map(np.allclose, published, {name: params[name] for name in published})
    if all(jax.tree.leaves(pairs)):
        return own, "fetched when it is first needed"
    return params, "among the weights"


def _seconds(folder: Path) -> dict[str, float]:
    """How long the steps of the workdir took, where it says so; what it started from had its own."""
    from faceflax.evaluation.benchmark.efficiency import training_seconds

    took = training_seconds(folder)
    return {} if math.isnan(took) else {"seconds": took}


def _origin(folder: Path, config: Any) -> tuple[Any, dict[str, Any]]:
    """The shipped CNN that a GAN was trained from, as `Trained`, and what the manifest says of it.

    It may have been trained on since it shipped. Raises `UserError` when another one is shipped.
    """
    from faceflax.models import shipped
    from faceflax.training import trained, workdir

    step = workdir.read_origin(folder)
    if config.init_from in shipped.names():
        return trained.load_restorer(config.init_from), {"origin": step}
    origin = trained.load_plain(config.init_from, step).params
    known = trained.load_plain("cnn").params if "cnn" in shipped.names() else {}
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), origin)
    same = jax.tree.structure(known) == jax.tree.structure(rounded)
    if not same or not all(map(np.array_equal, jax.tree.leaves(known), jax.tree.leaves(rounded))):
        raise UserError(f'the shipped model "cnn" is not the CNN that {folder} was trained from; ship that one first')
    return trained.load_restorer("cnn"), {"origin": step, "config": config.to_dict() | {"init_from": "cnn"}}


if __name__ == "__main__":
    program.run(main)
