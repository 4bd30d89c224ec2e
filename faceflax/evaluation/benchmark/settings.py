"""A benchmark's configuration: which arms are trained how, what they are measured on, and which of them are compared.

A file in `configs/benchmark/` defines `get_config()`, which gives `create` the arms' experiment configurations and
changes what it needs. The fields are locked. Comments give each field's unit.
"""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.degradations import TASKS, Task, flatten
from faceflax.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
BESIDE = ("input", "classical")  # what stands beside the arms in tables: the degraded input, and the classical method
_RESERVED = (*BESIDE, "real")


def create(experiments: Mapping[str, ConfigDict]) -> ConfigDict:
    """Returns a new benchmark of the arms `experiments`: name -> configuration (see `faceflax.config.default`).

    The arms' order is that of the tables. An arm whose `init_from` is the name of another arm starts from that one's
    parameters of the same seed.
    """
    config = ConfigDict()
    config.arms = tuple(experiments)  # trained and measured, in the order of the tables
    config.experiments = ConfigDict(dict(experiments))
    # Used instead of training, one a seed: workdirs, or models of the package by their names.
    config.trained = ConfigDict(dict.fromkeys(experiments, ()))
    config.seeds = (0, 1, 2)  # each arm is trained with each
    config.workers = 0  # trainings at once; 0: one for each GPU, else one

    config.data = ConfigDict()  # what is measured on
    config.data.dataset = "mini_faces"
    config.data.folder = ""
    config.data.data_dir = ""
    config.data.split = "test"
    config.data.image_size = 128  # pixels; that of the trainings
    config.data.label = ""  # the examples' feature that says who it is; empty: "identity" where they have it

    config.eval = ConfigDict()
    config.eval.tasks = ("mixed",)  # "mixed": all tasks at all severities
    config.eval.curve = (10, 20, 30, 40, 50)  # % of the area: holes of the occlusion curve; (): no curve
    config.eval.judges = ("perceptual", "identity", "kid")  # and "dlib", which is installed apart
    config.eval.batch_size = 32
    config.eval.max_images = 0  # 0: the whole split
    config.eval.faces = 2  # images of each task that the page of faces shows

    config.compare = ConfigDict()  # the two arms of the verdict, trained with equal budgets; "": no verdict
    config.compare.cnn = ""
    config.compare.gan = ""

    config.fidelity = ConfigDict()  # weights interpolated between two arms, of the first seed
    config.fidelity.cnn = ""  # the arm that the GAN started from; "": no fidelity curve
    config.fidelity.gan = ""
    config.fidelity.points = (0.0, 0.25, 0.5, 0.75, 1.0)  # 1: the CNN, 0: the GAN
    config.fidelity.tasks = ("mixed",)

    config.efficiency = ConfigDict()
    config.efficiency.rounds = 5  # each round times every arm; 0: no efficiency table
    config.efficiency.steps = 16  # of one timing of training: all that differ from step to step are among so many
    config.efficiency.batches = 4  # of one timing of restoring
    config.lock()
    return config


def validate(config: ConfigDict) -> None:
    """Raises `UserError` for a benchmark that cannot be run; the parts check what they know best."""
    if not config.arms or not config.seeds:
        raise UserError("a benchmark needs at least one of config.arms and one of config.seeds")
    for name in config.arms:
        _check_arm(config, name)
    if len(set(config.seeds)) < len(config.seeds):
        raise UserError(f"config.seeds {tuple(config.seeds)} names a seed twice")
    _check_pair(config, "compare")
    _check_pair(config, "fidelity")
    _check_fidelity(config)
    least = {"eval.batch_size": 1, "eval.max_images": 0, "eval.faces": 1, "efficiency.rounds": 0, "workers": 0}
    for field, limit in (least | {"efficiency.steps": 1, "efficiency.batches": 1, "data.image_size": 1}).items():
        section, _, name = field.rpartition(".")
        value = config[section][name] if section else config[name]
        if value < limit:
            raise UserError(f"config.{field} is {value}; it must be at least {limit}")
    if not all(0 < share <= 60 for share in config.eval.curve):
        raise UserError(f"config.eval.curve {tuple(config.eval.curve)} must hold percentages over 0, up to 60")
    table_tasks(config)


def _check_arm(config: ConfigDict, name: str) -> None:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UserError(
            f'"{name}" cannot name an arm: use small letters, digits and _, and none of {", ".join(_RESERVED)}'
        )
    if name not in config.experiments:
        raise UserError(f'config.experiments has no "{name}", which config.arms names')
    experiment, given = config.experiments[name], trained(config, name)
    if given:
        if len(given) != len(config.seeds):
            raise UserError(
                f"config.trained.{name} needs one workdir or model for each of the seeds {tuple(config.seeds)}"
            )
        return
    config_lib.validate(experiment)
    size = experiment.data.image_size
    if size != config.data.image_size:
        raise UserError(f"{name} is trained at {size} pixels and config.data.image_size is {config.data.image_size}")


def _check_pair(config: ConfigDict, section: str) -> None:
    """Raises `UserError` unless `section` names no arms, or a CNN and a GAN of them."""
    pair = {end: config[section][end] for end in ("cnn", "gan")}
    for name in filter(None, pair.values()):
        if name not in config.arms:
            raise UserError(f'"{name}" of config.{section} is not among config.arms: {", ".join(config.arms)}')
    if bool(pair["cnn"]) != bool(pair["gan"]):
        raise UserError(f"config.{section} needs both cnn and gan, or neither")
    for end, other in (("cnn", "gan"), ("gan", "cnn")):
        if pair[end] and config.experiments[pair[end]].arm == other:
            raise UserError(
                f'config.{section}.{end} is "{pair[end]}", whose config.arm is "{other}": name an arm of the other kind'
            )


def _check_fidelity(config: ConfigDict) -> None:
    """Raises `UserError` unless the GAN starts from the CNN, as far as configurations say, and all points lie between.

    Of a GAN that was given as trained the report says what it started from.
    """
    cnn, gan = config.fidelity.cnn, config.fidelity.gan
    start = config.experiments[gan].init_from if gan and not trained(config, gan) else cnn
    if start != cnn:
        raise UserError(
            f'config.fidelity.gan is {gan}, which starts from "{start}" and not from {cnn}: between networks that were '
            "trained apart there is nothing of use; name its start as config.fidelity.cnn"
        )
    if not all(0 <= point <= 1 for point in config.fidelity.points):
        raise UserError(f"config.fidelity.points {tuple(config.fidelity.points)} must lie between 0 and 1")


def trained(config: ConfigDict, name: str) -> tuple[str, ...]:
    """What is given for the arm `name`, one workdir or model of the package a seed; empty when it is to be trained."""
    given = config.trained.get(name, ())
    return (given,) if isinstance(given, str) and given else tuple(given)


def table_tasks(config: ConfigDict) -> tuple[Task, ...]:
    """The tasks of the tables, in order; raises `UserError` for one that does not exist."""
    return flatten(config.eval.tasks)


def curve_tasks(config: ConfigDict) -> tuple[Task, ...]:
    """The tasks of the occlusion curve; most of their severities are in no table."""
    return tuple(Task("occlude", float(share)) for share in sorted(config.eval.curve))


def all_tasks(config: ConfigDict) -> tuple[Task, ...]:
    """Everything that is measured: the tables' tasks, then what the curve has besides."""
    return tuple(dict.fromkeys((*table_tasks(config), *curve_tasks(config))))


def fidelity_tasks(config: ConfigDict) -> tuple[Task, ...]:
    """The tasks that interpolated networks are measured on: those of `fidelity.tasks` that the tables have."""
    chosen: set[Any] = set(flatten(config.fidelity.tasks))
    return tuple(task for task in table_tasks(config) if task in chosen)


def fidelity_between(config: ConfigDict) -> tuple[float, ...]:
    """The values of the fidelity curve at which neither end lies; empty when there is no curve."""
    return tuple(sorted(value for value in config.fidelity.points if 0 < value < 1)) if config.fidelity.gan else ()


def fidelity_name(value: float) -> str:
    """The method's name of a network between two arms."""
    return f"fidelity_{value:g}"


def is_light(task: Task) -> bool:
    """Whether the task is light damage: the mildest severity of its kind, where that is no large occlusion."""
    return task.severity == TASKS[task.name][0] and not is_large_occlusion(task)


def is_large_occlusion(task: Task) -> bool:
    """Whether the task takes a large part of the face away: half of the area, or what a surgical mask covers."""
    return task.name == "facemask" or (task.name == "occlude" and task.severity >= 50)
