"""The CNN that ships with faceflax: its finest scales kept for one kind of damage each (docs/experts.md).

Each expert is a network for all damage (the last training of configs/pretrain/cnn.py, runs/pretrain/cnn4), trained on
at its finest scales on one kind of damage alone; KIND is one of KINDS below, of which some only are what others start
from:

python -m experiments.train --config=configs/pretrain/experts.py:KIND --workdir=runs/pretrain/expert_KIND

Then the router learns which of them is for what (11 minutes on one core, and 4 more for what was labelled otherwise at
first; it tells nine tenths of the damage, and all nine kinds on 17 photographs of people end at 26.34 dB), and the
whole is shipped:

python -m experiments.train --config=configs/pretrain/experts.py --workdir=runs/pretrain/experts
python -m experiments.train --config=configs/pretrain/experts.py --workdir=runs/pretrain/experts2
  --config.experts.start="()" --config.init_from=runs/pretrain/experts --config.optim.lr=1e-3
  --config.train.duration=1000steps
python -m experiments.ship --workdir=runs/pretrain/experts2 --name=cnn --eight_bits
"""

from typing import NamedTuple

from configs.pretrain import cnn
from faceflax import degradations
from faceflax.models import experts


class Kind(NamedTuple):
    """A training of an expert: what it is for, and how it goes."""

    tasks: str  # that the expert is for; empty when it is only what another starts from
    trained_on: tuple[str, ...]
    start: str  # the kind, or the network in runs/pretrain, that it was trained on from
    steps: int
    deblur: str = ""


# A "b" is another training of the same kind, from where the first ended.
KINDS = {
    "blind": Kind("", ("blind", "blind 2", "mixed"), "cnn4", 1000),
    "blindb": Kind("blind", ("blind", "blind 2", "mixed"), "blind", 1200),
    "sr": Kind("sr", ("sr", "sr 4", "sr 8"), "cnn4", 2500),
    "sr4": Kind("", ("sr 4",), "sr", 700),
    "sr4b": Kind("sr 4", ("sr 4",), "sr4", 2000),
    "sr8": Kind("sr 8", ("sr 8",), "sr", 600),
    "noise": Kind("noise", ("noise", "noise 25", "noise 50"), "cnn4", 1500),
    "noise25": Kind("noise 25", ("noise 25",), "noise", 1500),
    "noise50": Kind("", ("noise 50",), "noise", 500),
    "noise50b": Kind("noise 50", ("noise 50",), "noise50", 2000),
    "blur": Kind("blur", ("blur", "blur 3"), "cnn4", 1500, "blur"),
    "blur3": Kind("blur 3", ("blur 3",), "blur", 1500, "blur"),
    "motion": Kind("motion", ("motion", "motion 15"), "cnn4", 2000, "motion"),
    "motion15": Kind("motion 15", ("motion 15",), "motion", 1500, "motion"),
    "jpeg": Kind("jpeg", ("jpeg", "jpeg 10"), "cnn4", 1000),
    "jpeg10": Kind("jpeg 10", ("jpeg 10",), "jpeg", 2000),
    "lowlight": Kind("lowlight", ("lowlight", "lowlight 2"), "cnn4", 1000),
    "lowlight2": Kind("", ("lowlight 2",), "lowlight", 600),
    "lowlight2b": Kind("lowlight 2", ("lowlight 2",), "lowlight2", 2000),
    "holes": Kind("occlude, facemask", ("occlude", "occlude", "facemask"), "cnn4", 1000),
}


def get_config(name=""):
    return choose(KINDS, cnn.get_config("128"), name)


def choose(kinds, config, name):
    """The training of an expert of `kinds`, or that of the router between them, with the data of `config`."""
    config.data.tones = 0.15
    config.data.grey = 0.1
    return expert(kinds, config, kinds[name]) if name else router(kinds, config)


def expert(kinds, config, kind):
    config.init_from = _workdir(kinds, kind.start)
    config.model.deblur = (kind.deblur,) if kind.deblur else ()
    config.tasks = kind.trained_on
    config.eval.tasks = tuple((kind.tasks or kind.trained_on[0]).split(", "))
    config.optim.modules = experts.OWN
    config.optim.lr = 5e-4 if kind.start in kinds else 7e-4
    config.train.eval_every = "500steps"
    config.train.duration = f"{kind.steps}steps"
    return config


def router(kinds, config):
    chosen = {name: kind for name, kind in kinds.items() if kind.tasks}
    config.arm = "experts"
    config.init_from = ""
    config.model.experts = tuple(kind.tasks for kind in chosen.values())
    config.model.deblur = tuple(kind.deblur for kind in chosen.values())
    config.experts.start = tuple(_workdir(kinds, name) for name in chosen)
    # What takes all else comes twice: what is given to an expert for something else is mended worse. Motion, of which
    # nobody else mends much, comes four times: nothing else is taken for it.
    tasks = [task for kind in chosen.values() for task in kind.tasks.split(", ")]
    config.tasks = (
        "blind",
        "motion",
        "motion",
        "motion",
        *tasks,
        *(task for task in degradations.TASKS if task not in tasks),
    )
    config.data.batch_size = 32
    config.optim.lr = 2e-3
    config.train.duration = "3000steps"
    return config


def _workdir(kinds, name):
    return f"runs/pretrain/{'expert_' if name in kinds else ''}{name}"
