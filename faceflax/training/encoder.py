"""The encoder arm: a face encoder that learns from a published one, from labelled people, or from both.

The published encoder sees clean faces, whole; the one that learns sees each of them in another frame and light
and often damaged, so that its vectors hold where the teacher's do not.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from faceflax import degradations, metrics, objectives
from faceflax.datasets import registry, stream
from faceflax.errors import UserError
from faceflax.models.face_encoder import compact, faceres
from faceflax.training import optimizer, parallel, teacher, views
from faceflax.training.accumulation import accumulate
from faceflax.training.state import Arm, Collectives, Metrics, TrainState

_BOX = 128  # faces by which the head of a shortened faceres is scaled
_PADDED = 128  # class weights are padded to a multiple, so that they can be split over as many devices


def create(config: ConfigDict, learning_rate: optax.Schedule, collectives: Collectives) -> Arm:
    """Makes the arm of `config`; see `arms.create`.

    Raises `UserError` when no loss has a weight, or a margin loss lacks labels.
    """
    if config.parallel.strategy == "pmap":
        raise UserError('an encoder compares the faces of a whole batch: set config.parallel.strategy to "jit"')
    compact.check(config.encoder)
    features = _features(config)
    transform = optimizer.create(config.optim, learning_rate)
    groups = degradations.parse(config.tasks)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    make_params = _create_params(config.encoder, features, init_key)
    loss_fn = _create_loss(config.encoder, collectives)

    def step(state: TrainState, batch: dict[str, jax.Array], networks: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(step_key, state.step)

        def gradients(micro: dict[str, jax.Array]) -> tuple[Any, Metrics]:
            show = collectives.map_images(lambda image, index: _show(key, image, index, groups, config.encoder))
            seen = show(micro["image"].astype(jnp.float32) / 255, micro["index"])
            return jax.grad(loss_fn, has_aux=True)(state.params, seen, micro)

        grads, sums = accumulate(gradients, batch, config.optim.accumulate, collectives.average)
        sums |= metrics.counted(1, grad_norm=optax.tree.norm(grads), lr=learning_rate(state.step))
        return optimizer.advance(state, grads, transform, config.optim.ema_decay), sums

    def prepare(source: Any) -> Any:
        if "label" in features:
            _check_people(source, features["label"], config.encoder.people)
        return teacher.describe(source) if "vector" in features else source

    shown = ("loss", *(f"loss_{name}" for name in _terms(features)))
    init = lambda: optimizer.first_state(make_params(), transform)  # noqa: E731
    return Arm(init, step, None, lambda: None, shown, features, prepare=prepare)


def _create_params(wanted: ConfigDict, features: dict[str, str], key: jax.Array) -> Callable[[], Any]:
    """Returns `make()` of the first parameters: the network's, and those that only the losses need."""
    moments = _moments(wanted.size, wanted.blocks) if wanted.start == "faceres" else {}

    def make() -> Any:
        network_key, head_key, class_key = jax.random.split(key, 3)
        params = {"network": compact.init(wanted, network_key)}
        if wanted.start == "faceres":
            params["network"] = compact.started(params["network"], faceres.load())
            params["network"]["head"] |= moments
        elif wanted.start:
            params["network"] = _shipped(params["network"])
        if "vector" in features:
            shape = (wanted.dimension, faceres.DIMENSION)
            params["head"] = {
                "kernel": nn.initializers.lecun_normal()(head_key, shape),
                "bias": jnp.zeros(faceres.DIMENSION),
            }
        if "label" in features:
            rows = -(-wanted.people // _PADDED) * _PADDED
            params[parallel.CLASSES] = jax.random.normal(class_key, (rows, wanted.dimension)) / wanted.dimension**0.5
        return params

    return make


def _create_loss(wanted: ConfigDict, collectives: Collectives) -> Callable[..., tuple[jax.Array, Metrics]]:
    """Returns `loss(params, seen, batch) -> (loss, metrics)` of the terms whose features the batch holds."""

    def loss_fn(params: Any, seen: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, Metrics]:
        vectors = compact.embed(_freeze(params["network"], wanted.frozen), seen)
        terms, shown = {}, {}
        if "vector" in batch:
            head = params["head"]
            terms["distillation"] = objectives.distillation_loss(
                vectors @ head["kernel"] + head["bias"], batch["vector"]
            )
            terms["relation"] = objectives.relational_loss(vectors, batch["vector"])
        if "label" in batch:
            cosines = collectives.split_classes(vectors @ compact.unit(params[parallel.CLASSES]).T)
            terms["margin"], shown["accuracy"] = objectives.margin_loss(
                cosines, batch["label"], num_classes=wanted.people, margin=wanted.angle, scale=wanted.scale
            )
        loss = sum(wanted[name] * term for name, term in terms.items())
        shown |= {f"loss_{name}": term for name, term in terms.items()}
        return loss, metrics.counted(len(seen), loss=loss, **shown)

    return loss_fn


def _check_people(source: Any, label: str, people: int) -> None:
    """Raises `UserError` where `label` gives no number, or one that is none of so many: the loss would pass it over."""
    stream.check_features(source[0], {"label": label})
    highest = max(int(source[number][label]) for number in range(len(source)))
    if highest >= people:
        raise UserError(
            f"config.encoder.people is {people}, and the examples' {label} goes to {highest}; set it to {highest + 1}"
        )


def _features(config: ConfigDict) -> dict[str, str]:
    """What the losses read of the examples; see `Arm.features`."""
    features = {}
    if config.data.source != "dataset":
        raise UserError('config.data.source must be "dataset" for an encoder, whose losses need to know of each face')
    if config.encoder.distillation or config.encoder.relation:
        features["vector"] = "vector"
    if config.encoder.margin:
        if not config.data.label or config.encoder.people < 2:
            raise UserError(
                "config.encoder.margin needs to know who is who: set config.data.label to the examples' feature that "
                "says it, and config.encoder.people to their number"
            )
        features["label"] = config.data.label
    if not features:
        raise UserError("config.encoder gives no loss a weight; set distillation, relation or margin above 0")
    return features


def _shipped(params: Any) -> Any:
    """Returns the network that comes with the package; raises `UserError` unless it is of the same shape."""
    found = compact.load()
    if jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, params):
        raise UserError("the compact encoder that comes with faceflax is of another shape than config.encoder's")
    return jax.tree.map(jnp.asarray, found)


@functools.cache
def _moments(size: int, blocks: int) -> dict[str, np.ndarray]:
    """What scales the head of a shortened faceres, over a batch of the synthetic faces that come with the package."""
    source = registry.load("mini_faces", "train")
    batch = next(stream.eval_stream(source, image_size=size, batch_size=_BOX, max_images=_BOX))
    shape = ConfigDict({"size": size, "blocks": blocks, "dimension": 1})
    params = compact.started(compact.init(shape, jax.random.key(0)), faceres.load())
    measure = parallel.one_device().compile_batched(compact.moments)
    return jax.device_get(measure(params, batch["image"].astype(np.float32) / 255))


def _freeze(params: Any, blocks: int) -> Any:
    """Returns the network's parameters without gradients for the first convolution and so many blocks."""
    fixed = {"conv1", *(f"{kind}{block}" for kind in ("depthwise", "pointwise") for block in range(1, blocks + 1))}
    fixed = fixed if blocks else set()
    trunk = {name: jax.lax.stop_gradient(layer) if name in fixed else layer for name, layer in params["trunk"].items()}
    head = params["head"] | {name: jax.lax.stop_gradient(params["head"][name]) for name in ("mean", "scale")}
    return {"trunk": trunk, "head": head}


def _terms(features: dict[str, str]) -> tuple[str, ...]:
    terms = {"vector": ("distillation", "relation"), "label": ("margin",)}
    return tuple(term for feature in features for term in terms[feature])


def _show(
    key: jax.Array, image: jax.Array, index: jax.Array, groups: tuple[tuple[degradations.Task, ...], ...], wanted: Any
) -> jax.Array:
    """Returns what the network sees, [B, size, size, 3], of images [B, H, W, 3]."""
    choice_key, damage_key, view_key = jax.random.split(key, 3)
    if wanted.damage:
        image, _ = degradations.degrade_some(choice_key, damage_key, image, index, groups, wanted.damage)
    return views.view(view_key, image, index, wanted.size)
