"""onnxruntime's side of the race in `compare_pytorch`, which restores alone."""

from pathlib import Path

import numpy as np

from faceflax.restoration import exported


class Restorer:
    """An exported generator, as `faceflax restore` runs it; it has all cores unless told otherwise."""

    def __init__(self, path: Path):
        self._restore = exported.load(path, batch_size=1)[1]

    def load(self, batch: dict[str, np.ndarray]) -> None:
        """Keeps the batch."""
        self._batch = [batch[name] for name in ("degraded", "mask")]

    def restore(self) -> np.ndarray:
        """Returns the restored batch."""
        return self._restore(*self._batch)
