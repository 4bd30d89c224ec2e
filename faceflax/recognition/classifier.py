"""A classifier over a gallery's people, in place of the nearest neighbour: a softmax over cosines.

Each person has a learnt unit vector; the logits are the cosines with them, times a scale (Wang et al., NormFace, 2017).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.recognition.gallery import Gallery
from faceflax.training import optimizer, parallel

_SCALE = 16.0
_STEPS = 300
_BATCH = 256
_LEARNING_RATE = 3e-3
_JITTER = 0.5
"""Length of the random part added to each vector, or one photograph of a person would be all that the class is."""
_MOST_VALUES = 1 << 26  # of the people's vectors, 256 MB


@dataclasses.dataclass(frozen=True)
class Head:
    """The learnt unit vectors [C, D] and the people's names [C]."""

    weights: np.ndarray
    names: tuple[str, ...]

    def likeliest(self, vectors: np.ndarray, k: int) -> list[list[str]]:
        """Returns up to `k` names for each unit vector [N, D], the likeliest first."""
        order = np.argsort(-(vectors @ self.weights.T), axis=1, kind="stable")[:, :k]
        return [[self.names[index] for index in row] for row in order]


def training_set(gallery: Gallery, condition: str = "") -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns unit vectors [N, D], the number of each one's person [N], and the people's names, sorted."""
    pages = list(gallery.vectors(condition))
    vectors = np.concatenate([page for _, page in pages])
    people = [record.name for records, _ in pages for record in records]
    order = np.lexsort((vectors[:, 0], people))  # the database gives them in no order
    names, labels = np.unique(np.array(people, object)[order].astype(str), return_inverse=True)
    return vectors[order], labels.astype(np.int32), tuple(map(str, names))


def fit(vectors: np.ndarray, labels: np.ndarray, names: tuple[str, ...], seed: int = 0) -> Head:
    """Trains a head on unit vectors [N, D] and labels [N] in 0..C-1; the same arguments give the same head.

    It starts from the people's mean vectors. Every person is drawn as often as any other. Raises `UserError` for fewer
    than two people, and for more than memory is meant to hold.
    """
    if len(names) < 2:
        raise UserError("a classifier needs two people or more in the gallery; enrol more, or leave --by nearest")
    if len(names) * vectors.shape[1] > _MOST_VALUES:
        raise UserError(f"{len(names):,} people are too many for a classifier; leave --by nearest")
    means = np.zeros((len(names), vectors.shape[1]), np.float32)
    np.add.at(means, labels, vectors)
    program = parallel.one_device().compile_batched(_train)
    shares = np.cumsum(1 / np.bincount(labels)[labels]) / len(names)
    photographs = {"vectors": vectors, "labels": labels, "shares": shares.astype(np.float32)}
    weights = program(jnp.asarray(_unit(means)), {**photographs, "key": jax.random.key_data(jax.random.key(seed))})
    return Head(np.asarray(weights), names)


def _unit(rows: jax.Array) -> jax.Array:
    return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


def _train(start: jax.Array, data: dict[str, jax.Array]) -> jax.Array:
    """Returns the people's vectors [C, D] after `_STEPS` steps from `start`."""
    transform = optimizer.create(config_lib.default().optim, lambda step: _LEARNING_RATE * (1 - step / _STEPS))

    def loss(weights: jax.Array, key: jax.Array) -> jax.Array:
        choice, jitter = jax.random.split(key)
        chosen = jnp.searchsorted(data["shares"], jax.random.uniform(choice, (_BATCH,)))
        chosen = jnp.minimum(chosen, len(data["labels"]) - 1)  # the last share may be rounded to less than 1
        drawn = data["vectors"][chosen]
        noise = _unit(jax.random.normal(jitter, drawn.shape))
        logits = _SCALE * _unit(drawn + _JITTER * noise) @ _unit(weights).T
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), data["labels"][chosen][:, None], axis=1).mean()

    def step(state, number):
        key = jax.random.fold_in(jax.random.wrap_key_data(data["key"]), number)
        return optimizer.advance(state, jax.grad(loss)(state.params, key), transform, 0.0), None

    state, _ = jax.lax.scan(step, optimizer.first_state(start, transform), jnp.arange(_STEPS))
    return _unit(state.params)
