"""What a training step changes, and what the loop needs to know of a network to train it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from flax import struct

Metrics = dict[str, tuple[jax.Array, jax.Array]]  # name -> (sum, count); see faceflax.metrics


class Collectives(NamedTuple):
    """What a step, written for the whole batch, calls where several devices hold shares of it; by default there is one.

    Attributes:
      map_images: `function -> function`, for a function of whole batches that treats each image alone.
      split_classes: `scores [B, K] -> scores`, for those of many classes.
      average: `(gradients, metrics) -> (gradients, metrics)`, from those of what the step was given to the batch's.
    """

    map_images: Callable[[Callable], Callable] = lambda function: function
    split_classes: Callable[[jax.Array], jax.Array] = lambda scores: scores
    average: Callable[[Any, Metrics], tuple[Any, Metrics]] = lambda grads, sums: (grads, sums)


@struct.dataclass
class TrainState:
    """Everything that a checkpoint holds. Randomness is not part of it: it follows from the seed and `step`."""

    step: jax.Array  # int32 scalar, steps done
    params: Any
    ema: Any  # moving average of params: what is evaluated and used
    opt_state: Any
    extras: Any = None  # what an arm keeps besides, such as its discriminator


class Arm(NamedTuple):
    """One way of training a network.

    Attributes:
      init: `() -> TrainState`, a function of the seed alone.
      step: `(state, batch, networks) -> (state, metrics)`, pure; written for the whole batch.
      restore: `(params, degraded [B, H, W, 3], mask [B, H, W, 1]) -> restored [B, H, W, 3]`; None for a network that
        restores nothing.
      load_networks: `() -> networks`, arrays that the step reads and nothing changes: pretrained networks of its
        losses. No checkpoint holds them. Raises `UserError` when they cannot be fetched.
      shown: the metrics of a step that the console shows; all are written to `metrics.jsonl`.
      features: what the step reads of a batch besides `image` and `index`: names in the batch, and of the examples'
        features that they come from.
      feature_shapes: the shape of each of these in an example, float32, of an arm whose steps can be timed.
      prepare: `source -> source`, adds to the training examples what they lack of these features. Raises `UserError`
        when it cannot.
    """

    init: Callable[[], TrainState]
    step: Callable[[TrainState, dict[str, jax.Array], Any], tuple[TrainState, Metrics]]
    restore: Callable[[Any, jax.Array, jax.Array], jax.Array] | None
    load_networks: Callable[[], Any]
    shown: tuple[str, ...] = ("loss", "psnr")
    features: Mapping[str, str] = MappingProxyType({})
    feature_shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    prepare: Callable[[Any], Any] = lambda source: source
