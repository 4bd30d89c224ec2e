"""Times and counts the training step on every number of devices that is here, in every layout."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.evaluation.benchmark.efficiency import training_program
from faceflax.scaling import cells, layouts, traffic
from faceflax.scaling.cells import Cell, Place
from faceflax.training import arms, parallel
from faceflax.training import workdir as workdir_lib
from faceflax.training.state import Arm, Collectives

# What a step does not depend on: a cell stays when they change. The batch is the place's.
_OF_THE_TRAINING = ("seed", "profile", "train", "eval", "wandb", "parallel", "data")


def places(settings: ConfigDict) -> list[Place]:
    """Returns the cells of the study: each mode, layout and number of devices that can be laid out.

    One device is one device in any layout: it is measured as "data" alone. Left out are numbers that a layout is not
    of, and those that do not divide the batch, or, of images split by rows, the image. Which of them
    the devices here can measure is for `measure` to find.
    """
    counts = sorted(set(settings.counts))
    laid_out = [("data", count) for count in counts if count == 1]
    laid_out += [
        (name, count) for name in settings.layouts for count in counts if count > 1 and layouts.mesh(name, count)
    ]
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

    Cells of more devices than are here are left out. Where several processes share the devices, so are those of fewer,
    and those of images split by rows over devices of different processes. Cells of other kinds of devices that were
    measured into the same folder count, if they were made from the same; how many were not is said. Of several
    processes each measures, the first one writes, and only what that one returns is complete.

    Raises `UserError` when a pretrained network of the loss cannot be fetched, or the disk is full.
    """
    made_from, kind = _made_from(settings), jax.devices()[0].device_kind
    here = [place for place in places(settings) if _is_here(place)]
    missing = _missing(here, folder, kind, made_from | _machine())
    flops = model_flops(settings.experiment) if missing else 0.0
    measured: dict[tuple, Cell] = {}
    for place in missing:
        step = (place.layout, place.devices, place.batch)
        if step not in measured:  # else the other mode's is the same
            say(f"measuring {place.name} on {kind}")
            measured[step] = _measure(settings, place, flops)
        cell = dataclasses.replace(measured[step], place=place)
        if jax.process_index() == 0:
            cells.write(folder, cell, made_from | _machine())
    found = [
        cells.read(folder, each, place, made_from | (_machine() if each == kind else {}))
        for each in cells.kinds(folder)
        for place in places(settings)
    ]
    found = [cell for cell in found if cell]
    if others := cells.number(folder) - len(found):
        say(f"left out: {others} cell(s) of other flags, another version of JAX or another CPU")
    return found


def _missing(here: list[Place], folder: Path, kind: str, made_from: dict[str, Any]) -> list[Place]:
    """Those of `here` that the first process, which may be the only one that can see the folder, has no cell of."""
    lacks = np.array([cells.read(folder, kind, place, made_from) is None for place in here])
    if jax.process_count() > 1:
        lacks = multihost_utils.broadcast_one_to_all(lacks)
    return [place for place, is_missing in zip(here, lacks, strict=True) if is_missing]


def _is_here(place: Place) -> bool:
    if place.layout == "spatial" and place.devices > jax.local_device_count():
        return False  # the devices that share an image belong to one process
    available = jax.device_count()
    return place.devices == available or (jax.process_count() == 1 and place.devices < available)


def _made_from(settings: ConfigDict) -> dict[str, Any]:
    fields = json.loads(config_lib.to_json(settings.experiment))
    step = {name: value for name, value in fields.items() if name not in _OF_THE_TRAINING}
    step["image_size"] = settings.experiment.data.image_size
    digest = hashlib.sha256(json.dumps(step, sort_keys=True).encode()).hexdigest()
    return {
        "step": digest,
        "counted": "as accelerators run it",
        "rounds": settings.rounds,
        "steps": settings.steps,
        "jax": jax.__version__,
    }


def _machine() -> dict[str, Any]:
    """What tells one machine's timings from another's where the kind of device does not: the CPU and its cores."""
    if jax.default_backend() != "cpu":
        return {}
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"cpu": model, "cores": os.cpu_count()}


def _measure(settings: ConfigDict, place: Place, image_flops: float) -> Cell:
    config = config_lib.from_json(config_lib.to_json(settings.experiment))
    config.data.batch_size = place.batch
    strategy = "pmap" if place.layout == "pmap" else "jit"
    devices = parallel.create(layouts.mesh(place.layout, place.devices), strategy, num_devices=place.devices)
    program, costs = training_program(config, devices)
    program.seconds(1)  # the compiler's
    return Cell(
        place,
        device_kind=jax.devices()[0].device_kind,
        dtype=config.model.dtype,
        seconds=tuple(place.batch * program.seconds(settings.steps) for _ in range(settings.rounds)),
        flops=costs.flops,
        model_flops=place.batch * image_flops,
        moved_bytes=costs.moved_bytes,
        peak_bytes=costs.peak_bytes,
        accelerator_bytes=costs.accelerator_bytes,
        traffic=traffic.count(costs.program),
        parameter_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in _trained_parameters(config)),
        commit=workdir_lib.provenance()["commit"],
    )


def model_flops(config: ConfigDict) -> float:
    """Operations of training the restoring network on one image: three times XLA's count of restoring it.

    Once forward and twice as much backward, as is usual for MFU: without the damage, the loss, the optimiser, what
    rematerialisation computes again, and a GAN's discriminator. NaN for an experiment that restores nothing.
    """
    arm, size = _arm(config), config.data.image_size
    if arm.restore is None:
        return math.nan
    devices = parallel.one_device()
    program = devices.compile_batched(lambda params, batch: arm.restore(params, batch["degraded"], batch["mask"]))
    shapes = {
        "degraded": jax.ShapeDtypeStruct((1, size, size, 3), np.float32),
        "mask": jax.ShapeDtypeStruct((1, size, size, 1), np.float32),
    }
    return 3 * devices.costs(program, jax.eval_shape(arm.init).params, shapes).flops


def num_parameters(config: ConfigDict) -> int:
    """Returns how many numbers an experiment's `config` trains, but for a GAN's discriminator."""
    return sum(leaf.size for leaf in _trained_parameters(config))


def _trained_parameters(config: ConfigDict) -> list[jax.ShapeDtypeStruct]:
    return jax.tree.leaves(jax.eval_shape(_arm(config).init).params)


def _arm(config: ConfigDict) -> Arm:
    return arms.create(config, lambda step: 0.0, Collectives())


def provenance(settings: ConfigDict) -> dict[str, Any]:
    """What a report says of how it came about."""
    return workdir_lib.provenance() | {"study": settings.to_dict()}
