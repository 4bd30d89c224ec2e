"""The mean face blended into holes: what one gets without knowing more than where faces have their parts."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from faceflax.datasets import images
from faceflax.evaluation.comparison.damage import Known


def mean_of(source: Sequence, size: int) -> np.ndarray:
    """Returns the mean of a dataset's faces at `size` pixels: float64 [S, S, 3], 0 to 255."""
    total = np.zeros((size, size, 3))
    for number in range(len(source)):
        total += images.square(images.decode(source[number]["image"]), size)
    return total / len(source)


def blend(mean: np.ndarray, image: np.ndarray, mask: np.ndarray, known: Known) -> np.ndarray:
    """Returns `image` with its hole filled by `mean`, whose gradients are kept and whose border is the image's.

    That is Poisson blending (Perez et al., SIGGRAPH 2003): the mean plus the harmonic function that has, around the
    hole, the difference of both.
    """
    hole = mask > 0
    if not hole.any():
        return image
    filled = mean + harmonic(image - mean, hole)
    return np.where(hole[..., None], np.clip(np.round(filled), 0, 255), image).astype(np.uint8)


def harmonic(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Returns `values` [H, W, C], in `hole` [H, W] the solution of Laplace's equation with the rest as its border.

    At the image's own border the normal derivative is 0. A hole without any border is 0.
    """
    height, width = hole.shape
    if hole.all():
        return np.zeros_like(values)
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    rows, columns = np.nonzero(hole)
    degree, right = np.zeros(len(rows)), np.zeros((len(rows), values.shape[2]))
    links = []
    for step_y, step_x in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = rows + step_y, columns + step_x
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        degree += inside
        place, y, x = np.nonzero(inside)[0], y[inside], x[inside]
        unknown = hole[y, x]
        np.add.at(right, place[~unknown], values[y[~unknown], x[~unknown]])
        links.append((place[unknown], number[y[unknown], x[unknown]]))
    row, column = (np.concatenate(parts) for parts in zip(*links, strict=True))
    matrix = sparse.diags(degree) - sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(rows),) * 2)
    solved = values.copy()
    solved[hole] = linalg.splu(matrix.tocsc()).solve(right)
    return solved
