"""The CNN that ships with faceflax, its finest scales kept for one kind of damage each (docs/experts.md).

Each expert is the shipped CNN (of one with experts, the first), trained on at its finest scales, on one kind:

python -m experiments.train --config=configs/pretrain/experts.py:KIND --workdir=runs/pretrain/expert_KIND

with KIND one of blind, sr, noise, blur, motion, jpeg, lowlight, holes. Then the router learns which is for what:

python -m experiments.train --config=configs/pretrain/experts.py --workdir=runs/pretrain/experts
python -m experiments.ship --workdir=runs/pretrain/experts --name=cnn
"""

from configs.pretrain import cnn
from faceflax.models import experts

# By kind: the tasks of the expert, those it was trained on (some twice as often), and steps.
KINDS = {
    "blind": ("blind", ("blind", "blind 2", "mixed"), 1500),
    "sr": ("sr", ("sr", "sr 4", "sr 8"), 2500),
    "noise": ("noise", ("noise", "noise 25", "noise 50"), 2000),
    "blur": ("blur", ("blur", "blur 3"), 2000),
    "motion": ("motion", ("motion", "motion 15"), 2500),
    "jpeg": ("jpeg", ("jpeg", "jpeg 10"), 1500),
    "lowlight": ("lowlight", ("lowlight", "lowlight 2"), 1500),
    "holes": ("occlude facemask", ("occlude", "occlude", "facemask"), 1500),
}


def get_config(kind=""):
    config = cnn.get_config("128")
    config.data.tones = 0.15
    config.data.grey = 0.1
    if kind:
        tasks, trained_on, steps = KINDS[kind]
        config.init_from = "cnn"
        config.tasks = trained_on
        config.eval.tasks = tuple(tasks.split())
        config.optim.modules = experts.OWN
        config.optim.lr = 7e-4
        config.train.eval_every = "500steps"
        config.train.duration = f"{steps}steps"
        return config
    config.arm = "experts"
    config.init_from = ""
    config.model.experts = tuple(tasks for tasks, _, _ in KINDS.values())
    config.experts.start = tuple(f"runs/pretrain/expert_{kind}" for kind in KINDS)
    config.tasks = ("blind", *(task for tasks, _, _ in KINDS.values() for task in tasks.split()))
    config.data.batch_size = 32
    config.train.duration = "3000steps"
    return config
