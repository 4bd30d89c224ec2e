"""A training so small that a test can run it: its configuration, its command, and what it leaves behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).parent.parent
FIELDS = {
    "tasks": ("noise 50", "occlude 25", "jpeg 30"),
    "data.image_size": 32,
    "data.batch_size": 16,
    "model.width": 16,
    "model.encoder_blocks": (1, 1),
    "model.decoder_blocks": (1, 1),
    "model.middle_blocks": 1,
    "optim.warmup": "2steps",
    "train.duration": "40steps",
    "train.log_every": "1steps",
    "train.eval_every": "40steps",
    "train.checkpoint_every": "10steps",
    "eval.tasks": ("noise 50",),
    "eval.max_images": 8,
    "wandb.mode": "disabled",
}


def command(workdir, **fields):
    """The command line that trains it; `fields` replace those above, with `__` for the dot."""
    fields = FIELDS | {name.replace("__", "."): value for name, value in fields.items()}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return [sys.executable, "-m", "experiments.train", "--config=configs/smoke.py", f"--workdir={workdir}", *flags]


def config(**fields):
    """The same configuration as an object."""
    from configs.smoke import get_config

    result = get_config()
    for name, value in (FIELDS | {name.replace("__", "."): value for name, value in fields.items()}).items():
        result.update_from_flattened_dict({name: value})
    return result


def environment(**variables):
    """The process's environment with `variables` added."""
    return os.environ | {name: str(value) for name, value in variables.items()}


def free_port():
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(workdir, **fields):
    """Runs the training to its end; returns the finished process, with its output as text."""
    return subprocess.run(command(workdir, **fields), cwd=ROOT, capture_output=True, text=True, check=False)


def state(workdir, step):
    """All arrays of the checkpoint of `step`, as a list."""
    from faceflax.training import arms, checkpoints, parallel
    from faceflax.training import workdir as workdir_lib

    made_with = workdir_lib.read_config(workdir)
    devices = parallel.create(made_with.parallel.mesh)
    arm = arms.create(made_with, lambda step: 0.0, devices.collectives)
    abstract = devices.abstract_state(arm.init)
    manager = checkpoints.Checkpoints(workdir, keep=1, best_metric="psnr", read_only=True)
    restored = manager.restore(abstract, step)
    manager.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored)]
