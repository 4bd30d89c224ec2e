"""Brute force over a gallery's pages: exact where an index would miss some."""

from collections.abc import Iterable

import numpy as np

Near = tuple[float, str]
"""A cosine, and the id of the record."""


def nearest(vectors: np.ndarray, pages: Iterable[list[dict]], k: int, key: str) -> list[list[Near]]:
    """Compares the unit vectors [N, D] with all rows of the pages, which have `id`, `vector` and the field `key`.

    Returns up to `k` nearest of each, the nearest first, one for each value of `key`.
    """
    best: list[dict[str, Near]] = [{} for _ in vectors]
    for rows in pages:
        keys, group = np.unique([row[key] for row in rows], return_inverse=True)
        scores = vectors @ np.array([row["vector"] for row in rows], np.float32).T
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(len(keys)))
        highest = np.maximum.reduceat(scores[:, order], starts, axis=1)  # [N, keys]
        members = np.split(order, starts[1:])
        for query, near in enumerate(best):
            for number in np.argsort(-highest[query], kind="stable")[:k]:
                row = members[number][np.argmax(scores[query, members[number]])]
                near[str(keys[number])] = max(
                    near.get(str(keys[number]), (-np.inf, "")), (float(scores[query, row]), rows[row]["id"])
                )
            best[query] = dict(sorted(near.items(), key=lambda item: -item[1][0])[:k])
    return [list(near.values()) for near in best]
