"""Fits the faces that fill holes: python -m experiments.fit_faces --faces=FOLDER --fill=FILL.

FOLDER holds the 5,000 synthetic faces of seed 2026 (experiments/numbered_faces.py). Writes a mean and principal
components of those that are for training, and of their mirror images, into the package, as `config.model.fill` names
them, face or coarse_face; 20 seconds on one core.
"""

import numpy as np
from absl import flags

from experiments import numbered_faces, program

_FACES = flags.DEFINE_string("faces", None, "The folder of the faces.")
_SHAPES = {"face": (32, 400), "coarse_face": (16, 56)}  # pixels and components; 800 fill holes 0.03 dB better than 400
_FILL = flags.DEFINE_enum("fill", "face", list(_SHAPES), "Which of them.")
flags.mark_flag_as_required("faces")


def main() -> int:
    """Fits by the flags; returns the process's exit status."""
    from faceflax.datasets import images
    from faceflax.datasets.synthetic_faces.numbers import split_of
    from faceflax.models import weights
    from faceflax.models.inpainting import likely
    from faceflax.training import workdir

    numbers = [number for number in range(numbered_faces.COUNT) if split_of(number) == "train"]
    read = (numbered_faces.read(_FACES.value, number) for number in numbers)
    size, count = _SHAPES[_FILL.value]
    faces = np.stack([images.square(face, size) for face in read]) / 255
    mean, components, variances = fit(faces, count)
    explained = variances.sum() / np.square(faces - mean).sum((1, 2, 3)).mean()
    print(f"{len(numbers)} faces; {count} components explain {explained:.1%} of their variance")
    manifest = {
        "kind": "Gaussian over aligned faces",
        "config": {"size": size, "components": count},
        "dataset": numbered_faces.describe(_FACES.value, numbers) | {"split": "train"},
        "step": 0,
        "metrics": {"explained_variance": round(float(explained), 4)},
        "commit": workdir.provenance()["commit"],
        "licence": "Apache-2.0; fitted to faces made by a network that was distilled from a generator of FFHQ faces, "
        "whose own licence (CC BY-NC-SA 4.0) is non-commercial",
    }
    left, signs = likely.halve(components, size)
    params = {"mean": mean, "components": {"kernel": left}, "signs": signs, "variances": variances}
    weights.write(likely.FILES[_FILL.value], params, manifest, np.int8)
    print(likely.FILES[_FILL.value])
    return 0


def fit(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean [S, S, 3], principal components [S * S * 3, count] and variances [count] of `faces` [N, S, S, 3].

    Of the faces and their mirror images together: each component is then its own mirror image, or minus that.
    """
    from scipy import linalg

    mean = faces.mean(0)
    mean = (mean + mean[:, ::-1]) / 2
    found = []
    for sign in (1, -1):
        parts = ((faces - mean) + sign * (faces - mean)[:, :, ::-1]).reshape(len(faces), -1) / 2
        first, last = parts.shape[1] - min(count, parts.shape[1] // 2), parts.shape[1] - 1
        found.append(linalg.eigh(parts.T @ parts / len(faces), subset_by_index=[first, last]))
    variances, components = np.concatenate([v for v, _ in found]), np.concatenate([c for _, c in found], 1)
    largest = np.argsort(-variances)[:count]
    return mean, components[:, largest], variances[largest]


if __name__ == "__main__":
    program.run(main)
