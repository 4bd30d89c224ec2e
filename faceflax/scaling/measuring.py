"""Times and counts the training step on every number of devices that is here, in every layout."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark.efficiency import training_program
from faceflax.scaling import cells, traffic
from faceflax.scaling import settings as settings_lib
from faceflax.scaling.cells import Cell, Place
from faceflax.training import arms, parallel
from faceflax.training import workdir as workdir_lib
from faceflax.training.state import Collectives


def places(settings: ConfigDict) -> list[Place]:
    """Returns the cells of the study: each mode, layout and number of devices that can be laid out.

    One device is one device in any layout: it is measured as "data" alone. Left out are numbers that do not divide the
    batch, or, of images split by rows, the image.
    """
    counts = sorted(set(settings.counts))
    laid_out = [("data", count) for count in counts if count == 1]
    laid_out += [(layout, count) for layout in settings.layouts for count in counts if count > 1]
    found = []
    for mode in ("strong", "weak"):
        for layout, count in laid_out:
            batch = settings.strong_batch if mode == "strong" else settings.weak_batch * count
            split = settings.experiment.data.image_size if layout == "spatial" else batch
            if split % count == 0:
                found.append(Place(mode, layout, count, batch))
    return found


def measure(settings: ConfigDict, folder: Path, say: Callable[[str], None]) -> list[Cell]:
    """Returns all cells of the study, those that `folder` has not been filled with measured now.

    Cells of more devices than are here are left out, as are those of fewer where several processes share the devices;
    cells of other machines that were measured into the same folder count.

    Raises `UserError` when a pretrained network of the loss cannot be fetched, or the disk is full.
    """
    made_from = _made_from(settings)
    found = []
    for place in places(settings):
        cell = cells.read(folder, place, made_from)
        if cell is None and _is_here(place):
            say(f"measuring {place.name}")
            cell = _measure(settings, place)
            if jax.process_index() == 0:
                cells.write(folder, cell, made_from)
        if cell is not None:
            found.append(cell)
    if not any(cell.place.devices == 1 for cell in found):
        raise UserError(
            "nothing was measured on one device, which efficiencies are told by; put 1 into config.counts, and where "
            "several processes share the devices, run the command on one of them first, with the same --workdir"
        )
    return found


def _is_here(place: Place) -> bool:
    available = jax.device_count()
    return place.devices == available or (jax.process_count() == 1 and place.devices < available)


def _made_from(settings: ConfigDict) -> dict[str, Any]:
    experiment = hashlib.sha256(config_lib.to_json(settings.experiment).encode()).hexdigest()
    return {"experiment": experiment, "rounds": settings.rounds, "steps": settings.steps, "jax": jax.__version__}


def _measure(settings: ConfigDict, place: Place) -> Cell:
    config = config_lib.from_json(config_lib.to_json(settings.experiment))
    config.data.batch_size = place.batch
    strategy = "pmap" if place.layout == "pmap" else "jit"
    devices = parallel.create(settings_lib.mesh(place.layout, place.devices), strategy, num_devices=place.devices)
    program, costs = training_program(config, devices)
    program.seconds(1)  # the compiler's
    return Cell(
        place,
        device_kind=jax.devices()[0].device_kind,
        seconds=tuple(place.batch * program.seconds(settings.steps) for _ in range(settings.rounds)),
        flops=costs.flops,
        moved_bytes=costs.moved_bytes,
        peak_bytes=costs.peak_bytes,
        traffic=traffic.count(costs.program),
        parameter_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in trained_parameters(config)),
    )


def trained_parameters(config: ConfigDict) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of what an experiment's `config` trains, but for a GAN's discriminator."""
    return jax.tree.leaves(jax.eval_shape(arms.create(config, lambda step: 0.0, Collectives()).init).params)


def provenance(settings: ConfigDict) -> dict[str, Any]:
    """What a report says of how it came about."""
    return workdir_lib.provenance() | {"study": settings.to_dict()}
