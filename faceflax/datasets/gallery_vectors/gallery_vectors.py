"""The builder of `gallery_vectors`; `faceflax gallery export` gives it what it holds."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds


@dataclasses.dataclass(kw_only=True)
class GalleryVectorsConfig(tfds.core.BuilderConfig):
    """What is in the gallery.

    Attributes:
      people: names, sorted.
      size: length of the vectors.
      examples: gives (name, source, vector [size]) of each enrolled face; source is the SHA-256 of its photograph.
    """

    name: str = "all"
    people: Sequence[str]
    size: int
    examples: Callable[[], Iterator[tuple[str, str, np.ndarray]]]


class GalleryVectors(tfds.core.GeneratorBasedBuilder):
    """Unit vectors of enrolled faces, one split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The enrolled faces of a gallery: {config.description}.",
            features=tfds.features.FeaturesDict(
                {
                    "vector": tfds.features.Tensor(shape=(config.size,), dtype=np.float32),
                    "identity": tfds.features.ClassLabel(names=config.people),
                    "source": tfds.features.Text(),
                }
            ),
            license="personal data: to be used as the people enrolled agreed to",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (name, source, vector) in enumerate(self.builder_config.examples()):
            yield index, {"vector": vector, "identity": name, "source": source}
