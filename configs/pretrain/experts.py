"""The CNN that ships with faceflax: its finest scales kept for one kind of damage each (docs/experts.md).

Each expert is trained on from the one that ships, at its finest scales and on its kind of damage alone; KIND is one of
KINDS below (2,000 steps take 15 minutes on one core, and give 0.1 to 0.4 dB). The faces lie in runs/faces, as
configs/pretrain/cnn.py says:

python -m experiments.train --config=configs/pretrain/experts.py:KIND --workdir=runs/pretrain/expert_KIND

Those that were trained take the places of the shipped ones, the router learns on which of them is for what, and the
whole is shipped:

python -m experiments.train --config=configs/pretrain/experts.py:join,KIND,KIND --workdir=runs/pretrain/experts
python -m experiments.ship --workdir=runs/pretrain/experts --name=cnn --eight_bits --fine_router

The first time each of them started from a network for all damage, the last training of configs/pretrain/cnn.py
(--config.init_from=runs/pretrain/cnn4 --config.optim.lr=7e-4), those for one severity from that for the whole task,
and the router from nothing (--config.init_from="" --config.optim.lr=2e-3 --config.train.duration=3000steps, 11 minutes
on one core). It tells nine tenths of the damage, and all nine kinds on 17 photographs of people end at 26.54 dB.
"""

from typing import NamedTuple

from configs.pretrain import cnn
from faceflax import degradations
from faceflax.errors import UserError
from faceflax.models import experts


class Kind(NamedTuple):
    """An expert: what it is for, what it is trained on, and the blur that it undoes first."""

    tasks: str
    trained_on: tuple[str, ...]
    deblur: str = ""
    # As configs/pretrain/cnn.py; likely faces are those of FFHQ's frame, so experts for holes keep nearer to it.
    crop: float = 0.8


KINDS = {
    "blind": Kind("blind", ("blind", "blind 2", "mixed")),
    "sr": Kind("sr", ("sr", "sr 4", "sr 8")),
    "sr4": Kind("sr 4", ("sr 4",)),
    "sr8": Kind("sr 8", ("sr 8",)),
    "noise": Kind("noise", ("noise", "noise 25", "noise 50")),
    "noise25": Kind("noise 25", ("noise 25",)),
    "noise50": Kind("noise 50", ("noise 50",)),
    "blur": Kind("blur", ("blur", "blur 3"), "blur"),
    "blur3": Kind("blur 3", ("blur 3",), "blur"),
    "motion": Kind("motion", ("motion", "motion 15"), "motion"),
    "motion15": Kind("motion 15", ("motion 15",), "motion"),
    "jpeg": Kind("jpeg", ("jpeg", "jpeg 10")),
    "jpeg10": Kind("jpeg 10", ("jpeg 10",)),
    "lowlight": Kind("lowlight", ("lowlight", "lowlight 2")),
    "lowlight2": Kind("lowlight 2", ("lowlight 2",)),
    "holes": Kind("occlude, facemask", ("occlude", "occlude", "facemask"), crop=0.9),
}


def get_config(what="join"):
    return choose(KINDS, "cnn", cnn.get_config("128"), what, "face")


def choose(kinds, shipped, config, what, fill="smooth"):
    """The training of one of the `kinds` of experts of the model `shipped`, or of its router ("join,KIND,...")."""
    config.data.tones = 0.15
    config.data.grey = 0.1
    config.model.fill = fill
    first, *trained = what.split(",")
    unknown = {*([] if first == "join" else [first]), *trained} - kinds.keys()
    if unknown or (trained and first != "join"):
        raise UserError(f"{what}: write one of {', '.join(kinds)}, or join and those that were trained, with commas")
    return router(kinds, shipped, trained, config) if first == "join" else expert(kinds[first], shipped, config)


def expert(kind, shipped, config):
    config.init_from = f"{shipped}:{kind.tasks}"
    config.model.deblur = (kind.deblur,) if kind.deblur else ()
    config.tasks = kind.trained_on
    config.eval.tasks = tuple(kind.tasks.split(", "))
    config.data.crop = kind.crop
    config.optim.modules = experts.OWN
    config.optim.lr = 5e-4
    config.train.eval_every = "500steps"
    config.train.duration = "2000steps"
    return config


def router(kinds, shipped, trained, config):
    config.arm = "experts"
    config.init_from = shipped
    config.model.experts = tuple(kind.tasks for kind in kinds.values())
    config.model.deblur = tuple(kind.deblur for kind in kinds.values())
    config.experts.start = tuple(
        f"runs/pretrain/expert_{name}" if name in trained else f"{shipped}:{kind.tasks}" for name, kind in kinds.items()
    )
    # What takes all else comes twice: what is given to an expert for something else is mended worse. Motion, of which
    # nobody else mends much, comes four times: nothing else is taken for it.
    tasks = [task for kind in kinds.values() for task in kind.tasks.split(", ")]
    config.tasks = (
        "blind",
        "motion",
        "motion",
        "motion",
        *tasks,
        *(task for task in degradations.TASKS if task not in tasks),
    )
    config.data.batch_size = 32
    config.optim.lr = 1e-3
    config.train.duration = "1000steps"
    return config
