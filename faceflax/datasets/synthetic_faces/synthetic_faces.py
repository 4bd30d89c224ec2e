"""The builder of `synthetic_faces`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow_datasets as tfds

from faceflax.datasets import images
from faceflax.datasets.sharded import ShardedBuilder
from faceflax.datasets.synthetic_faces.numbers import split_of
from faceflax.datasets.synthetic_faces.recipe import SIDE, FaceGenerator
from faceflax.errors import UserError

SHARD = 100  # faces a shard: about a minute's work on two cores, the most that a kill can lose
QUALITY = 93


@dataclasses.dataclass(kw_only=True)
class GeneratorConfig(tfds.core.BuilderConfig):
    """What builders need who have the faces made by a network, which this room does not know.

    Attributes:
      make_generator: returns what makes the faces; called when the first one is due.
    """

    make_generator: Callable[[], FaceGenerator] | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(kw_only=True)
class SyntheticFacesConfig(GeneratorConfig):
    """Faces 0 to `count` - 1 of `seed`, `size` pixels wide and high; raises `UserError` for sizes that do not exist."""

    name: str = ""
    count: int = 10_000
    size: int = 256
    seed: int = 2026

    def __post_init__(self) -> None:
        if not 16 <= self.size <= SIDE:
            raise UserError(f"synthetic faces are 16 to {SIDE} pixels wide, not {self.size}")
        if self.count < 1 or self.seed < 0:
            raise UserError("the count of synthetic faces must be at least 1 and the seed at least 0")
        self.name = f"{self.count}-{self.size}px-seed{self.seed}"


class SyntheticFaces(ShardedBuilder):
    """Faces of nobody who exists, made from random numbers; face i is a function of (seed, i) alone."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        side = self.builder_config.size
        return tfds.core.DatasetInfo(
            builder=self,
            description="Faces made from random numbers by MobileStyleGAN with the weights in the package random-face "
            "2021.7.21.1. Nobody shown exists. A face's name is its number i; its seeds are (seed, i).",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 3), encoding_format="jpeg"),
                    "name": tfds.features.Text(),
                }
            ),
            license="Apache-2.0; made with weights trained on FFHQ, whose licence (CC BY-NC-SA 4.0) is non-commercial",
            disable_shuffling=True,
        )

    def plan(self) -> dict[str, list[list[int]]]:
        """Returns the numbers of each shard of each split."""
        numbers: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
        for number in range(self.builder_config.count):
            numbers[split_of(number)].append(number)
        return {split: [all_[i : i + SHARD] for i in range(0, len(all_), SHARD)] for split, all_ in numbers.items()}

    def example(self, item: int) -> dict[str, Any]:
        """Makes face number `item`."""
        image = self._generator.face(self.builder_config.seed, item, self.builder_config.size)
        return {"image": images.encode_jpeg(image, QUALITY), "name": f"{item:06d}"}

    @functools.cached_property
    def _generator(self) -> FaceGenerator:
        return self.builder_config.make_generator()
