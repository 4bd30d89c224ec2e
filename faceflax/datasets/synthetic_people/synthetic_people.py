"""The builder of `synthetic_people`."""

import dataclasses
import functools
from typing import Any

import tensorflow_datasets as tfds

from faceflax.datasets import images
from faceflax.datasets.sharded import ShardedBuilder
from faceflax.datasets.synthetic_faces.recipe import SIDE, FaceGenerator
from faceflax.datasets.synthetic_faces.synthetic_faces import QUALITY, GeneratorConfig
from faceflax.errors import UserError

SHARD = 500  # pictures a shard


@dataclasses.dataclass(kw_only=True)
class SyntheticPeopleConfig(GeneratorConfig):
    """People 0 to `people` - 1 of `seed`, with `pictures` each; raises `UserError` for sizes that do not exist."""

    name: str = ""
    people: int = 1000
    pictures: int = 10
    size: int = 128
    seed: int = 2026

    def __post_init__(self) -> None:
        if not 16 <= self.size <= SIDE:
            raise UserError(f"synthetic people are 16 to {SIDE} pixels wide, not {self.size}")
        if self.people < 1 or self.pictures < 1 or self.seed < 0:
            raise UserError("the counts of people and pictures must be at least 1 and the seed at least 0")
        self.name = f"{self.people}x{self.pictures}-{self.size}px-seed{self.seed}"


class SyntheticPeople(ShardedBuilder):
    """Pictures of people who do not exist, with their numbers: every 10th person is held out for `test`.

    Picture j of person i is a function of (seed, i, j) alone.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description="Pictures of people who do not exist, made from random numbers by MobileStyleGAN with the "
            "weights in the package random-face 2021.7.21.1. A person's pictures share the coarse styles but for a "
            "small step; light and colours are drawn anew.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(config.size, config.size, 3), encoding_format="jpeg"),
                    "identity": tfds.features.ClassLabel(num_classes=config.people),
                    "name": tfds.features.Text(),
                }
            ),
            license="Apache-2.0; made with weights trained on FFHQ, whose licence (CC BY-NC-SA 4.0) is non-commercial",
            disable_shuffling=True,
        )

    def plan(self) -> dict[str, list[list[tuple[int, int]]]]:
        """Returns the (person, picture) of each shard of each split."""
        items: dict[str, list[tuple[int, int]]] = {"train": [], "test": []}
        for person in range(self.builder_config.people):
            split = "test" if person % 10 == 9 else "train"
            items[split] += [(person, picture) for picture in range(self.builder_config.pictures)]
        return {split: [all_[i : i + SHARD] for i in range(0, len(all_), SHARD)] for split, all_ in items.items()}

    def example(self, item: tuple[int, int]) -> dict[str, Any]:
        """Makes a picture of a person."""
        person, picture = item
        image = self._generator.picture(self.builder_config.seed, person, picture, self.builder_config.size)
        return {
            "image": images.encode_jpeg(image, QUALITY),
            "identity": person,
            "name": f"{person:06d}/{picture:03d}",
        }

    @functools.cached_property
    def _generator(self) -> FaceGenerator:
        return self.builder_config.make_generator()
