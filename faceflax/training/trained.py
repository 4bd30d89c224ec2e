"""Trained networks, read to be used. Orbax, slow to import, is left out where the package has the weights itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from faceflax import models
from faceflax.errors import UserError
from faceflax.models import experts, shipped
from faceflax.models.interpolation import interpolate
from faceflax.training import workdir


class Trained(NamedTuple):
    """A trained network: its configuration, averaged parameters (numpy arrays), and what is known of them."""

    config: ConfigDict
    params: Any
    info: dict[str, Any]  # "step", and the "metrics" of its validation where there was one


def load_restorer(model: str | Path, step: int | None = None) -> Trained:
    """Reads a restorer that comes with the package (`models.shipped.names()`), or one by its workdir.

    A folder of a shipped model's name is meant when it is written as ./NAME. Raises as `shipped.check`,
    `models.complete` and `checkpoints.load_for_inference`; of a shipped model too, when it is not that of `step`.
    """
    shipped.check(model)
    if model not in shipped.names():
        from faceflax.training import checkpoints

        return checkpoints.load_for_inference(Path(model), step)
    config, params, manifest = shipped.read(model)
    if step not in (None, manifest["step"]):
        raise UserError(f'the model "{model}" that comes with faceflax is of step {manifest["step"]}, not {step}')
    params = models.complete(config.model, params, config.data.image_size)
    return Trained(config, params, {"step": manifest["step"], "metrics": manifest["metrics"]})


def load_plain(model: str | Path, step: int | None = None) -> Trained:
    """As `load_restorer`; of a restorer with experts one of them, as a network of its own.

    "cnn:sr 4" is the one whose tasks are "sr 4" (`config.model.experts`); without tasks it is the first, which is for
    all damage. Raises `UserError` for tasks that no expert has.
    """
    name, tasks = named_expert(model)
    trained = load_restorer(name, step)
    names = tuple(trained.config.model.experts)
    if tasks and tasks not in names:
        raise UserError(f'{name} has no expert "{tasks}"; it has {", ".join(map(repr, names)) or "none"}')
    if not names:
        return trained
    number = names.index(tasks) if tasks else 0
    config = experts.plain(trained.config, number)
    return trained._replace(config=config, params=experts.select(trained.params, number))


def named_expert(model: str | Path) -> tuple[str, str]:
    """Returns the model's name or workdir, and the tasks of the expert that is meant, "" where none is named."""
    name, colon, tasks = str(model).rpartition(":")
    return (name, tasks) if colon and not Path(model).exists() else (str(model), "")


def load_experts(named: Sequence[str]) -> Trained:
    """Reads networks by their workdirs or names, as `load_plain`, and joins them, without a router's parameters.

    What is known is of the first, and the blurs that they undo are of each (`config.model.deblur`). Raises `UserError`
    as `load_restorer` and `experts.assemble`.
    """
    networks = [load_plain(name) for name in named]
    config = networks[0].config.copy_and_resolve_references()
    undone = sum((models.blurs(network.config.model) for network in networks), ())
    config.model.deblur = undone if any(undone) else ()
    params = experts.assemble([network.params for network in networks])
    return networks[0]._replace(config=config, params=params)


def between(cnn: Trained, gan: Trained, fidelity: float) -> Trained:
    """Returns the network between a GAN (0) and the CNN that it was trained from (1); raises as `interpolate`.

    From a GAN without experts the way leads to each expert of a CNN that has some: the GAN is then experts that are all
    alike, and the router, the blurs that are undone first and how holes are filled are the CNN's. At 0 it is the GAN
    itself, which undoes none.
    """
    names = cnn.config.model.experts
    if not names or gan.config.model.experts:
        if cnn.config.model.fill != gan.config.model.fill:
            raise UserError("the two networks fill holes differently (config.model.fill): they do not interpolate")
        if models.blurs(cnn.config.model) != models.blurs(gan.config.model):
            raise UserError("the two networks undo different blurs (config.model.deblur): they do not interpolate")
        return gan._replace(params=interpolate(cnn.params, gan.params, fidelity))
    if fidelity == 0:
        return gan
    config = gan.config.copy_and_resolve_references()
    config.model = cnn.config.model
    alike = experts.spread(gan.params, len(names)) | {experts.ROUTER: cnn.params[experts.ROUTER]}
    return gan._replace(config=config, params=interpolate(cnn.params, alike, fidelity))


def shipped_starts(config: ConfigDict) -> dict[str, Any]:
    """Returns, by name, what tells each model of the package that `config` starts from from earlier and later ones."""
    names = (named_expert(start)[0] for start in (*config.experts.start, config.init_from))
    known = {name: shipped.manifest(name) for name in names if name in shipped.names()}
    return {name: {field: each[field] for field in ("step", "commit", "command")} for name, each in known.items()}


def read_config(model: str | Path) -> ConfigDict:
    """Returns the configuration of a model of the package by its name, or of a workdir; raises as `load_restorer`."""
    if model in shipped.names():
        return shipped.read(model)[0]
    return workdir.read_config(Path(model))


def read_manifest(model: str | Path) -> dict[str, Any]:
    """Returns the manifest of a model of the package by its name, or of a workdir; empty when that has none."""
    return shipped.manifest(model) if model in shipped.names() else workdir.read_manifest(Path(model))


def load_restorers(named: Sequence[str], taken: Sequence[str] = ()) -> dict[str, Trained]:
    """Reads restorers by the names of a table; each of `named` is "NAME=WORKDIR", or a model of the package.

    `taken` are names that something else in the table has. Raises `UserError` when one cannot be read, or a name is
    there twice.
    """
    restorers = {}
    for text in named:
        name, _, folder = text.partition("=")
        if not name or name in (*taken, *restorers):
            raise UserError(f'config.restorers names "{name}" twice, or as a column is named; write NAME=WORKDIR')
        restorers[name] = load_restorer(Path(folder) if folder else name)
    return restorers
