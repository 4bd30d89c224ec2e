"""Puts a GAN made of experts into the package: python -m experiments.ship_gan --experts="FOLDER@0.3,gan:TASKS".

It is the shipped CNN with some of its experts trained on as GANs: FOLDER is a workdir of
configs/pretrain/gan_experts.py, of which @0.3 ships what lies three tenths of the way to the CNN's expert, and
gan:TASKS the expert for these TASKS that ships already. All others, and the router, are the CNN's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from experiments import history, program
from faceflax.errors import UserError

_EXPERTS = flags.DEFINE_list(
    "experts", None, 'Workdirs of experts, with "@FIDELITY" where one is meant, and "gan:TASKS" for what ships already.'
)
flags.mark_flag_as_required("experts")

NAME = "gan"
"""Of the GAN that ships."""


class Expert(NamedTuple):
    """An expert that was trained on as a GAN: its parameters (of one that ships its own alone), and its history."""

    params: Any
    config: dict[str, Any]
    run: dict[str, Any]  # as those of `history`, with "expert", the tasks that it is for, and "monitors"


def main() -> None:
    """Ships by the flags."""
    path = ship(_EXPERTS.value)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


def ship(named: Sequence[str]) -> Path:
    """Writes the shipped GAN anew, kernels in eight bits, and returns the file.

    Raises `UserError` when one of `named` is no expert of the shipped CNN that was trained on as a GAN, is named twice,
    or does not share with the CNN what all experts share.
    """
    from faceflax.models import experts, shipped, weights

    cnn, params, known = shipped.read("cnn")
    names = tuple(cnn.model.experts)
    networks = [experts.select(params, number) for number in range(len(names))]
    trained = [_kept(name, names) if name.startswith(f"{NAME}:") else _trained(name, names) for name in named]
    places = [names.index(expert.run["expert"]) for expert in trained]
    if len(set(places)) < len(places):
        raise UserError("two of --experts are for the same damage; name one of them")
    for place, expert in zip(places, trained, strict=True):
        networks[place] |= expert.params
    joined = experts.assemble(networks) | {experts.ROUTER: params[experts.ROUTER]}
    config = trained[0].config
    config |= {"model": cnn.model.to_dict(), "init_from": "cnn"}
    config["tasks"] = list(dict.fromkeys(task for expert in trained for task in expert.run["tasks"]))
    first = trained[0].run
    manifest = {field: first[field] for field in ("dataset", *history.OF_A_START)} | {
        "licence": known["licence"],
        "kind": "gan",
        "config": config,
        "step": sum(expert.run["step"] for expert in trained),
        "metrics": {},
        "before": history.of_shipped("cnn"),
        "origin": known["step"],
        "experts": [expert.run for expert in trained],
    }
    weights.write(shipped.path(NAME), joined, manifest, np.int8, finer=(experts.ROUTER,))
    return shipped.path(NAME)


def _trained(name: str, names: tuple[str, ...]) -> Expert:
    """An expert by its workdir, FOLDER or FOLDER@FIDELITY."""
    from faceflax.training import checkpoints, monitors, tracking, trained, workdir

    folder, fidelity = _parse(name)
    own = checkpoints.load_for_inference(folder)
    config = own.config.copy_and_resolve_references()
    origin, tasks = trained.named_expert(config.init_from)
    if config.arm != "gan" or origin != "cnn" or tasks not in names:
        raise UserError(
            f"{folder} holds no GAN that was trained from an expert of the shipped cnn; train one with "
            "configs/pretrain/gan_experts.py"
        )
    made, step = workdir.read_manifest(folder), own.info["step"]
    run = {"kind": "gan", "step": step, "tasks": list(dict.fromkeys(config.tasks)), "expert": tasks}
    run["fidelity"] = fidelity
    run["dataset"] = made["dataset"] | {"split": config.data.train_split}
    run["monitors"] = monitors.course(tracking.read_metrics(folder, f"train/{monitors.NAMES[0]}"), step)
    config.data.folder = ""  # a place on the machine that trained it
    moved = trained.between(trained.load_plain(config.init_from), own, fidelity).params
    params = own.params | _own(moved)  # what is shared stays as it was trained, to be compared with the CNN's
    return Expert(params, config.to_dict(), run | history.last_start(made))


def _parse(name: str) -> tuple[Path, float]:
    """Returns the folder and the fidelity of FOLDER@FIDELITY; raises `UserError` for one that is not from 0 to 1."""
    folder, at, share = name.rpartition("@")
    if not at:
        return Path(name), 0.0
    try:
        fidelity = float(share)
    except ValueError:
        fidelity = -1.0
    if not 0 <= fidelity <= 1:
        raise UserError(f"--experts: {name}: after the @ goes a fidelity from 0 (the GAN) to 1 (the CNN), as @0.3")
    return Path(folder), fidelity


def _kept(name: str, names: tuple[str, ...]) -> Expert:
    """An expert of the GAN that ships already, by gan:TASKS."""
    from faceflax.models import experts, shipped
    from faceflax.training import trained

    tasks = trained.named_expert(name)[1]
    manifest = shipped.manifest(NAME)
    run = next((run for run in manifest.get("experts", []) if run["expert"] == tasks), None)
    if run is None or tasks not in names:
        raise UserError(f'the {NAME} that ships has no expert "{tasks}" that was trained as a GAN; leave it out')
    params, shared = trained.load_plain(name).params, shipped.read("cnn")[1][experts.SHARED]
    if not all(map(_are_near, *map(jax.tree.leaves, ({part: params[part] for part in shared}, shared)))):
        raise UserError(f"{name} belongs to a cnn of other coarse scales than the one that ships; train it again")
    return Expert(_own(params), dict(manifest["config"]), run)


def _are_near(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether they differ by no more than rounding to eight bits once more."""
    return bool(np.abs(one - other).max() <= np.abs(other).max() / 127)


def _own(params: Any) -> Any:
    """What each expert has for itself, of a network's parameters."""
    from faceflax.models import experts

    return {name: part for name, part in params.items() if name.startswith(experts.OWN)}


if __name__ == "__main__":
    program.run(main)
