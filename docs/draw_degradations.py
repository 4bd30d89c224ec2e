"""Draws docs/degradations.jpg: a face of mini_faces under every task, a row a task, a column a severity.

python docs/draw_degradations.py docs/degradations.jpg
"""

import sys
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from faceflax import degradations
from faceflax.datasets import images, registry, stream


def main(path: str, number: int = 4) -> None:
    """Writes the picture of test image `number` to `path`."""
    batches = stream.eval_stream(registry.load("mini_faces", "test"), image_size=128, batch_size=number + 1)
    face = next(batches)["image"][number]
    columns = 1 + max(map(len, degradations.TASKS.values()))
    rows = []
    for name in degradations.TASKS:
        row = [face] + [np.full_like(face, 255)] * (columns - 1)
        for column, task in enumerate(degradations.flatten([name]), 1):
            degrade = jax.jit(degradations.degrade_for_evaluation, static_argnums=2)
            degraded, _ = degrade(jnp.asarray(face)[None] / 255, jnp.array([number]), task)
            row[column] = _label(np.round(np.asarray(degraded[0]) * 255).astype(np.uint8), str(task))
        rows.append(np.hstack(row))
    Path(path).write_bytes(images.encode_jpeg(np.vstack(rows), 88))


def _label(image: np.ndarray, text: str) -> np.ndarray:
    image = image.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, (4, 122), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    main(sys.argv[1])
