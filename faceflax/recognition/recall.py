"""How many of the true nearest neighbours a gallery's search finds."""

import dataclasses
import time

import numpy as np

from faceflax.errors import UserError
from faceflax.recognition.gallery import Gallery

_JITTER = 0.75  # length of what is added to an enrolled vector: another photograph of that person has a cosine of 0.8


@dataclasses.dataclass(frozen=True)
class Recall:
    """Of the `k` nearest by brute force, the share that was found, in the mean over the queries; and what it took."""

    k: int
    recall: float
    queries: int
    vectors: int
    seconds: float


def measure(gallery: Gallery, queries: int, k: int = 10, seed: int = 0) -> Recall:
    """Searches for enrolled vectors, disturbed as another photograph would be, by the index and by brute force.

    Raises `UserError` where nobody is enrolled, or `queries` is no number of queries.
    """
    if queries < 1:
        raise UserError(f"--queries {queries} is not a number of queries; make it 1 or more")
    pages = list(gallery.vectors())
    if not pages:
        raise UserError(f"the gallery {gallery.uri} holds nobody; enrol people with faceflax enroll")
    vectors = np.concatenate([page for _, page in pages])
    ids = np.array([record.id for records, _ in pages for record in records])
    asked = disturbed(vectors, queries, np.random.default_rng(seed))
    k = min(k, len(vectors))
    start = time.perf_counter()
    found = gallery.search(asked, k)
    seconds = time.perf_counter() - start
    share = overlap([[match.record.id for match in matches] for matches in found], ids[nearest(vectors, asked, k)])
    return Recall(k, share, queries, len(vectors), seconds)


def disturbed(vectors: np.ndarray, count: int | None, rng: np.random.Generator) -> np.ndarray:
    """Returns `count` unit vectors, each near one of the unit vectors [N, D]; without a count, one near each."""
    chosen = vectors if count is None else vectors[rng.integers(len(vectors), size=count)]
    noise = rng.normal(size=chosen.shape)
    moved = chosen + _JITTER * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


def nearest(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Returns the places [Q, k] of the `k` largest inner products of each query, compared with all, in no order."""
    parts = [
        np.argpartition(-(part @ vectors.T), k - 1)[:, :k] for part in np.array_split(queries, len(queries) // 250 + 1)
    ]
    return np.concatenate(parts)


def overlap(found: list[list[str]], true: np.ndarray) -> float:
    """Returns the mean share of each row of `true` that is in the same row of `found`."""
    return float(
        np.mean([len(set(row) & set(other)) / len(other) for row, other in zip(found, true.tolist(), strict=True)])
    )
