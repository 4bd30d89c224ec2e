"""Five training steps of a tiny network in each of several layouts of the devices, with their checkpoints.

Arguments: "write" or "read", the folder of them all, an arm of `FIELDS`, and names of `LAYOUTS`. Of several processes
the first writes the arrays.

A writer leaves, in a folder of the layout's name, the state before and after the first step and after the fifth, the
means of the metrics, and a checkpoint. It then goes on from the checkpoint of the layout before it in the list, where
there is one, and leaves the state after the sixth step. A reader reads all checkpoints into each of its layouts, and
fails unless the arrays are those that were written, to the last bit, and lie where the layout wants them.
"""

import math
import sys
from pathlib import Path

import jax
import numpy as np
from flax import linen

from faceflax.datasets import registry, stream
from faceflax.models import face_prior
from faceflax.models.face_prior import network, restorer
from faceflax.training import arms, checkpoints, layout, parallel, runtime
from tests import random_networks, tiny
from tests.programs import perceptron

STEPS = 5

LAYOUTS = {
    "one-jit": (1, 1, 1),
    "one-pmap": (1, 1, 1),
    "eight-data": (8, 1, 1),
    "eight-fsdp": (1, 8, 1),
    "eight-pmap": (8, 1, 1),
    "eight-both": (4, 2, 1),
    "eight-rows": (2, 1, 4),
    "pair-data": (4, 1, 1),
    "pair-fsdp": (1, 4, 1),
    "pair-pmap": (4, 1, 1),
}
"""Devices along data, fsdp and spatial; a pair is two processes of two devices. On one device data and fsdp are alike.

"both" takes its steps in two micro-batches.
"""

# Adam divides by the gradient's size, and where that is rounding alone its steps would be the rounding's sign: with eps
# a difference d between two gradients moves a parameter by no more than d * lr / eps, that is 33 * d.
RATE, EPS = 1e-3, 3e-5
COMMON = {"optim.eps": EPS, "model.width": 32, "model.encoder_blocks": (1,), "model.decoder_blocks": (1,)}
# JPEG rounds coefficients: what differs by the last bit before may differ by a step of quantisation after.
COMMON |= {"tasks": ("noise 50", "occlude 25", "blur 3")}
OPPONENT = {"gan.width": 32, "gan.scales": 1, "gan.eps": EPS, "gan.r1": 1.0, "gan.penalty_every": 2}
INSIDE = {"model.name": "face_prior", "data.image_size": 64, "data.flip": False}
INSIDE |= {"loss.charbonnier": 10.0}  # so that the gradient is large beside `EPS`
FIELDS = {
    "cnn": COMMON,
    "gan": COMMON | OPPONENT | {"arm": "gan"},
    "inversion": COMMON | INSIDE | {"arm": "inversion"},
    "face_prior": COMMON | INSIDE,
    "perceptron": COMMON | {"arm": "perceptron", "data.image_size": 16, "tasks": ("noise 50",)},
}
"""Networks wide enough that fsdp has arrays to split; the last but one is the CNN's arm with a face prior inside."""

STYLE = 32


class Trainer:
    """An arm in a layout, with its compiled step."""

    def __init__(self, arm, name):
        self.config = tiny.config(**FIELDS[arm], **{"optim.accumulate": 2 if name == "eight-both" else 1})
        mesh = dict(zip(layout.AXES, LAYOUTS[name], strict=True))
        strategy = "pmap" if name.endswith("pmap") else "jit"
        self.devices = parallel.create(mesh, strategy, math.prod(LAYOUTS[name]))
        arm = arms.create(self.config, lambda step: RATE, self.devices.collectives)
        self.abstract = self.devices.abstract_state(arm.init)
        self.arm, self.traces = arm, 0
        self.step = self.devices.compile_step(self._counted(arm.step), self.abstract, arm.load_networks())
        split = {leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(self.abstract)}
        assert split == ({True, False} if LAYOUTS[name][1] > 1 else {True})

    def _counted(self, step):
        def counted(*arguments):
            self.traces += 1
            return step(*arguments)

        return counted

    def batches(self):
        """Yields the batches of six steps."""
        shares = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        source = self.arm.prepare(registry.load(self.config.data.dataset, "train"))
        shares["features"] = self.arm.features
        found = stream.train_stream(source, self.config.data, seed=self.config.seed, **shares)
        return self.devices.prefetch(next(found) for _ in range(STEPS + 1))

    def place(self, state):
        """Places a state of numpy arrays."""
        put = lambda array, wanted: jax.make_array_from_callback(array.shape, wanted.sharding, lambda at: array[at])  # noqa: E731
        return self.devices.adopt_state(jax.tree.map(put, state, self.abstract))


def first_state(shapes):
    """A state of numpy arrays with noise in all parameters.

    As trainings begin, the last layer's kernel is zero and hardly any gradient reaches those before it.
    """
    rng = np.random.default_rng(0)

    def noise(path, shape):
        scale = math.sqrt(2 / math.prod(shape.shape[:-1])) if len(shape.shape) > 1 else 0.05
        drawn = rng.standard_normal(shape.shape) * scale
        name = jax.tree_util.keystr(path)
        if "vectors" in name:
            drawn /= np.linalg.norm(drawn)
        if any(f"['{head}" in name for head in ("spatial", "style")):  # a prior that is steered wildly is chaotic
            drawn /= 10
        return drawn.astype(shape.dtype)

    state = jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes)
    params, extras = jax.tree.map_with_path(noise, shapes.params), shapes.extras
    if restorer.PRIOR in params:
        params |= restorer.load_prior(INSIDE["data.image_size"])
    if extras:
        drawn = jax.tree.map_with_path(noise, {"params": extras.params, "vectors": extras.vectors})
        extras = state.extras.replace(**drawn)
    return state.replace(params=params, ema=params, extras=extras)


def small_prior():
    """A face prior whose styles are 32 numbers, as those of 512 would make most of a restorer's parameters."""
    params = random_networks.face_prior()
    for name in params:
        if name.endswith("style/kernel"):
            params[name] = params[name][:STYLE]
        elif name in ("mean", "map7/kernel", "map7/bias"):
            params[name] = params[name][..., :STYLE]
    return params


def write(folder, trainer):
    """Takes the steps, saves, and goes on."""
    batches, state = trainer.batches(), first_state(trainer.abstract)
    _save(folder, "0", state)
    state = trainer.place(state)
    for count in range(STEPS):
        state, sums = trainer.step(state, next(batches))
        if count == 0:
            _save(folder, "1", trainer.devices.gather(state))
    _checkpointed(folder, lambda saved: saved.save(state, STEPS, None))
    state_5, sums = trainer.devices.gather((state, sums))
    _save(folder, "5", state_5)
    _save(folder, "means", {name: total / count for name, (total, count) in sums.items()})
    names = list(LAYOUTS)
    other = folder.parent / names[names.index(folder.name) - 1]
    restored = _checkpointed(other if other.is_dir() else folder, lambda saved: saved.restore(trainer.abstract, STEPS))
    state, _ = trainer.step(trainer.devices.adopt_state(restored), next(batches))
    _save(folder, "6", trainer.devices.gather(state))
    assert trainer.traces == 1, trainer.traces


def read(folder, trainer):
    """Reads all checkpoints into the layout."""
    for written in sorted(path for path in folder.parent.iterdir() if path.is_dir()):
        state = _checkpointed(written, lambda saved: saved.restore(trainer.abstract, STEPS))
        with np.load(written / "5.npz") as expected:
            for path, leaf in jax.tree.leaves_with_path(state):
                whole = expected[jax.tree_util.keystr(path)]
                for shard in leaf.addressable_shards:
                    np.testing.assert_array_equal(shard.data, whole[shard.index])
        for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(trainer.abstract), strict=True):
            assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim), (leaf.sharding, wanted.sharding)


def main(action, folder, arm, *names):
    """Writes or reads."""
    runtime.start()
    # Where a ReLU's input is zero but for rounding, the gradient is the one or the other side's; with ReLU two layouts
    # of a somewhat larger CNN came to differ by 5e-5.
    linen.relu = linen.leaky_relu = lambda inputs, *_: jax.nn.silu(inputs)
    network.leaky_relu = restorer.leaky_relu = jax.nn.silu
    face_prior.load, restorer.DIMENSION = small_prior, STYLE
    arms.ARMS["perceptron"] = perceptron.create
    for name in names:
        {"write": write, "read": read}[action](Path(folder) / name, Trainer(arm, name))


def _checkpointed(folder, use):
    saved = checkpoints.Checkpoints(folder, keep=1, best_metric="step")
    try:
        return use(saved)
    finally:
        saved.close()


def _save(folder, name, tree):
    if jax.process_index() == 0:
        folder.mkdir(exist_ok=True)
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
