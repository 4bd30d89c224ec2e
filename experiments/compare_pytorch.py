"""Races the encoder-decoder against the same model in PyTorch eager: images/s of training and of restoring.

    python -m experiments.compare_pytorch

Both sides hold the same parameters and see the same batches (their outputs are compared first), and do the same work in
a training step: forward, Charbonnier loss, backward, clipping by global norm, AdamW. Each lives in a process of its own
with as many threads as there are cores, and they take turns, so that what disturbs the machine disturbs both.
PyTorch runs in its best eager form: channels_last memory, fused AdamW.
"""

import argparse
import multiprocessing
import os
import statistics
import time

import numpy as np
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError, run_main

_EPSILON = 1e-3  # of the Charbonnier loss
_TOLERANCE = 1e-4


class FlaxSide:
    """The model of `faceflax.models`, compiled by XLA."""

    def __init__(self, config: ConfigDict):
        import jax
        import jax.numpy as jnp
        import optax

        from faceflax import models
        from faceflax.models.convolutions import CPU_COMPILER_OPTIONS

        model = models.create(config.model)
        self.params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), config.data.image_size)
        # The head starts at zero; noise there makes the comparison of outputs mean something.
        self.params["head"]["kernel"] = 0.1 * jax.random.normal(jax.random.key(1), self.params["head"]["kernel"].shape)
        optim = config.optim
        adamw = optax.adamw(optim.lr, optim.b1, optim.b2, weight_decay=optim.weight_decay)
        optimizer = optax.chain(optax.clip_by_global_norm(optim.clip_norm), adamw)
        self.moments = jax.jit(optimizer.init)(self.params)

        def loss(params, degraded, mask, target):
            return jnp.mean(jnp.sqrt(jnp.square(model.apply(params, degraded, mask) - target) + _EPSILON**2))

        def step(params, moments, degraded, mask, target):
            value, gradients = jax.value_and_grad(loss)(params, degraded, mask, target)
            updates, moments = optimizer.update(gradients, moments, params)
            return optax.apply_updates(params, updates), moments, value

        self._step = jax.jit(step, donate_argnums=(0, 1), compiler_options=CPU_COMPILER_OPTIONS)
        self._apply = jax.jit(model.apply, compiler_options=CPU_COMPILER_OPTIONS)

    def parameters(self):
        """Returns the parameters as a tree of numpy arrays."""
        import jax

        return jax.tree.map(np.asarray, self.params)

    def load(self, batch: dict[str, np.ndarray]) -> None:
        """Puts the batch on the device."""
        import jax

        self.batch = [jax.device_put(batch[name]) for name in ("degraded", "mask", "target")]

    def train(self) -> float:
        """Makes one step; returns its loss."""
        self.params, self.moments, loss = self._step(self.params, self.moments, *self.batch)
        return float(loss)

    def restore(self) -> np.ndarray:
        """Returns the restored batch."""
        return np.asarray(self._apply(self.params, *self.batch[:2]))


class PyTorchSide:
    """The twin, eager."""

    def __init__(self, config: ConfigDict, params):
        import torch

        from experiments import pytorch_twin

        torch.set_num_threads(os.cpu_count())
        self.model = pytorch_twin.EncoderDecoder(config.model).to(memory_format=torch.channels_last)
        pytorch_twin.load_flax(self.model, params)
        optim = config.optim
        betas = (optim.b1, optim.b2)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), optim.lr, betas, weight_decay=optim.weight_decay, fused=True
        )
        self._clip_norm = optim.clip_norm

    def load(self, batch: dict[str, np.ndarray]) -> None:
        """Lays the batch out as PyTorch likes it best."""
        import torch

        images = (torch.from_numpy(batch[name]).permute(0, 3, 1, 2) for name in ("degraded", "mask", "target"))
        self.batch = [image.contiguous(memory_format=torch.channels_last) for image in images]

    def train(self) -> float:
        """Makes one step; returns its loss."""
        import torch

        degraded, mask, target = self.batch
        self._optimizer.zero_grad(set_to_none=True)
        loss = ((self.model(degraded, mask) - target).square() + _EPSILON**2).sqrt().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm, foreach=True)
        self._optimizer.step()
        return loss.item()

    def restore(self) -> np.ndarray:
        """Returns the restored batch."""
        import torch

        with torch.inference_mode():
            return self.model(*self.batch[:2]).permute(0, 2, 3, 1).numpy()


def _serve(pipe, side: type, *args) -> None:
    """Answers calls of the side's methods, each with its result and the seconds it took."""
    served = side(*args)
    pipe.send("ready")
    while (call := pipe.recv()) is not None:
        method, repeats, values = call
        start = time.perf_counter()
        for _ in range(repeats):
            result = getattr(served, method)(*values)
        pipe.send((result, (time.perf_counter() - start) / repeats))


class _Worker:
    """A side in a process of its own, which sleeps while it is not called."""

    def __init__(self, side: type, *args):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, side, *args), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def call(self, method: str, *values, repeats: int = 1):
        self._pipe.send((method, repeats, values))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def race(config: ConfigDict, rounds: int, repeats: int) -> dict[str, dict[str, float]]:
    """Returns images/s of "flax" and "pytorch", and their "ratio", for "train" and "restore".

    Each figure is a median over `rounds`, in each of which both sides make `repeats` steps. Raises `UserError` when
    the two do not compute the same.
    """
    rng = np.random.default_rng(0)
    shape = (config.data.batch_size, config.data.image_size, config.data.image_size)
    batch = {name: rng.random((*shape, 3), np.float32) for name in ("degraded", "target")}
    batch["mask"] = np.zeros((*shape, 1), np.float32)
    batch["mask"][::2, : shape[1] // 2] = 1
    flax = _Worker(FlaxSide, config)
    workers = {"flax": flax, "pytorch": _Worker(PyTorchSide, config, flax.call("parameters")[0])}
    for worker in workers.values():
        worker.call("load", batch)
    _check_same(workers)
    results = {}
    for method in ("train", "restore"):
        seconds = {name: [] for name in workers}
        for worker in workers.values():
            worker.call(method, repeats=2)
        for _ in range(rounds):
            for name, worker in workers.items():
                seconds[name].append(worker.call(method, repeats=repeats)[1])
        speeds = {name: shape[0] / statistics.median(times) for name, times in seconds.items()}
        results[method] = speeds | {"ratio": speeds["flax"] / speeds["pytorch"]}
    for worker in workers.values():
        worker.close()
    return results


def _check_same(workers: dict[str, _Worker]) -> None:
    """Compares the outputs, and the losses of three steps: the gradients and updates are the same as well."""
    restored = [worker.call("restore")[0] for worker in workers.values()]
    losses = [[worker.call("train")[0] for _ in range(3)] for worker in workers.values()]
    for what, (ours, theirs) in {"outputs": restored, "losses": losses}.items():
        difference = np.max(np.abs(np.subtract(ours, theirs)))
        print(f"largest difference of the {what}: {difference:.1e}")
        if difference > _TOLERANCE:
            raise UserError(f"the {what} differ by {difference:.1e}: this is not the same model, so no race")


def main() -> None:
    """Prints a table of images/s for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    config = config_lib.default()
    print("batch  what     flax images/s  pytorch images/s  ratio")
    for size in args.batch_sizes:
        config.data.batch_size = size
        for what, row in race(config, args.rounds, args.repeats).items():
            print(f"{size:5d}  {what:7}  {row['flax']:13.1f}  {row['pytorch']:16.1f}  {row['ratio']:5.2f}")


if __name__ == "__main__":
    run_main(main)
