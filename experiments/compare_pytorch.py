"""Races our networks against PyTorch eager and onnxruntime: images/s of training, as CNN and as GAN, and of restoring.

    pip install 'faceflax[compare,export]'
    python -m experiments.compare_pytorch

All sides hold the same parameters and see the same batches (outputs and the losses of three steps are compared first),
and do the same work in a training step. CNN: forward, Charbonnier loss, backward, clipping by global norm, AdamW. GAN:
the same with a discriminator, spectral norm by the power iteration, hinge loss, one pass of the generator for both
networks, Adam for the discriminator, and the average of the generator's parameters; no augmentation, perceptual or
identity term. Making damage is no part of either. Each side lives in a process of its own with as many threads as there
are cores, and they take turns, so that what disturbs the machine disturbs all. onnxruntime restores by the file that
`faceflax export` would write.
"""

import argparse
import importlib
import importlib.util
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError, run_main
from faceflax.evaluation.tables import Table, to_markdown

_TOLERANCE = 1e-4
_MODULES = ("torch", "jax2onnx", "onnxruntime")


def _serve(pipe, module: str, side: str, *args) -> None:
    """Answers calls of the side's methods, each with its result and the seconds it took."""
    served = getattr(importlib.import_module(module), side)(*args)
    pipe.send("ready")
    while (call := pipe.recv()) is not None:
        method, repeats, values = call
        start = time.perf_counter()
        for _ in range(repeats):
            result = getattr(served, method)(*values)
        pipe.send((result, (time.perf_counter() - start) / repeats))


class _Worker:
    """A side in a process of its own, which sleeps while it is not called."""

    def __init__(self, module: str, side: str, *args):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, module, side, *args), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def call(self, method: str, *values, repeats: int = 1) -> tuple[Any, float]:
        self._pipe.send((method, repeats, values))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def _batch(config: ConfigDict) -> dict[str, np.ndarray]:
    """Noise, with a hole in every second image."""
    rng = np.random.default_rng(0)
    shape = (config.data.batch_size, config.data.image_size, config.data.image_size)
    batch = {name: rng.random((*shape, 3), np.float32) for name in ("degraded", "target")}
    batch["mask"] = np.zeros((*shape, 1), np.float32)
    batch["mask"][::2, : shape[1] // 2] = 1
    return batch


def race(config: ConfigDict, arm: str, rounds: int, repeats: int) -> dict[str, dict[str, float]]:
    """Returns the images/s of each side, "faceflax" first, by what it does.

    The GAN trains only, as it restores like the CNN. Each figure is a median over `rounds`, in each of which all sides
    do it `repeats` times. Raises `UserError` when they do not compute the same.
    """
    side = {"cnn": "Cnn", "gan": "Gan"}[arm]
    ours = _Worker("experiments.flax_racers", side, config)
    theirs = _Worker("experiments.pytorch_racers", side, config, ours.call("parameters")[0])
    trainers = {"faceflax": ours, "PyTorch eager": theirs}
    restorers = trainers | ({"onnxruntime": _exported(ours)} if arm == "cnn" else {})
    batch = _batch(config)
    for worker in restorers.values():
        worker.call("load", batch)
    _check_same("outputs", [worker.call("restore")[0] for worker in restorers.values()])
    _check_same("losses", [[worker.call("train")[0] for _ in range(3)] for worker in trainers.values()])
    found = {f"train the {arm.upper()}": _speeds(trainers, "train", len(batch["mask"]), rounds, repeats)}
    if arm == "cnn":
        found["restore"] = _speeds(restorers, "restore", len(batch["mask"]), rounds, repeats)
    for worker in restorers.values():
        worker.close()
    return found


def _exported(ours: _Worker) -> _Worker:
    with tempfile.TemporaryDirectory() as folder:
        ours.call("export", path := Path(folder) / "model.onnx")
        return _Worker("experiments.onnx_racer", "Restorer", path)


def _check_same(what: str, values: list) -> None:
    """Compares all sides' outputs, or the losses of three steps: the gradients and updates are the same as well.

    Above 1, differences are shares of the value.
    """
    size = np.maximum(1, np.abs(values[0]))
    difference = max(np.max(np.abs(np.subtract(values[0], other)) / size) for other in values[1:])
    print(f"largest difference of the {what}: {difference:.1e}", flush=True)
    if not difference <= _TOLERANCE:
        raise UserError(f"the {what} differ by {difference:.1e}: this is not the same model, so no race")


def _speeds(workers: Mapping[str, _Worker], method: str, images: int, rounds: int, repeats: int) -> dict[str, float]:
    """Images/s of each worker; they take turns."""
    seconds = {name: [] for name in workers}
    for worker in workers.values():
        worker.call(method, repeats=2)
    for _ in range(rounds):
        for name, worker in workers.items():
            seconds[name].append(worker.call(method, repeats=repeats)[1])
    return {name: images / statistics.median(times) for name, times in seconds.items()}


def _config(arm: str, size: int) -> ConfigDict:
    config = config_lib.default()
    config.arm, config.data.batch_size, config.gan.augment = arm, size, ()
    if arm == "gan":
        # As configs/gan.py: Adam without momentum makes whole steps even of gradients that are mere rounding errors.
        config.optim.lr = 3e-4
    return config


def _rows(size: int, what: str, speeds: dict[str, float]) -> list[list[str]]:
    (_, ours), *others = speeds.items()
    return [[str(size), what, name, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"] for name, theirs in others]


def main() -> None:
    """Prints a table of images/s for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arms", nargs="+", default=["cnn", "gan"], choices=["cnn", "gan"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the race needs {', '.join(missing)}; pip install 'faceflax[compare,export]'")
    rows = []
    for size in args.batch_sizes:
        for arm in args.arms:
            config = _config(arm, size)
            for what, speeds in race(config, arm, args.rounds, args.repeats).items():
                rows += _rows(size, what, speeds)
    title = f"Images a second at {config.data.image_size}x{config.data.image_size}, medians of {args.rounds} rounds"
    print(to_markdown(Table(title, ["batch", "what", "against", "faceflax", "the other", "ratio"], rows)))


if __name__ == "__main__":
    run_main(main)
