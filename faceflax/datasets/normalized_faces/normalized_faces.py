"""The builder of `normalized_faces`; an Apache Beam pipeline, on one machine or on many."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from faceflax.datasets.face_folder import listing
from faceflax.preprocessing.chain import Settings

FAILURES = "failures"
"""Files beside the data, one sentence a line for each photograph that gave no face: failures-00000-of-00001.txt."""


@dataclasses.dataclass(kw_only=True)
class NormalizedFacesConfig(tfds.core.BuilderConfig):
    """A folder as it is now, and how its faces are normalised: a name for both, and for the chain's revision."""

    name: str = ""
    folder: Path
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        chosen = json.dumps(self.settings.made_by(), sort_keys=True).encode()
        self.name = f"{listing.config_name(self.folder)}-{hashlib.sha256(chosen).hexdigest()[:8]}"


class NormalizedFaces(tfds.core.GeneratorBasedBuilder):
    """The faces of raw photographs, as `faceflax normalize` makes them, each with the record of how.

    `download_and_prepare` takes a `DownloadConfig` with the pipeline's `beam_runner` and `beam_options`; without, the
    pipeline runs on this machine.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.settings.size
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The faces in the photographs of {self.builder_config.folder.resolve()}, normalised.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                    "name": tfds.features.Text(),
                    "record": tfds.features.Text(),
                }
            ),
            license="the photographs' own",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager, pipeline: Any) -> dict[str, Any]:
        import apache_beam as beam

        from faceflax.preprocessing.beam import FACES, Normalise
        from faceflax.preprocessing.beam import FAILURES as FAILED

        folder = self.builder_config.folder
        paths = [os.fsencode(path) for path in listing.photographs(folder)]  # a name need not be UTF-8
        found = (
            pipeline
            | "Name" >> beam.Create(paths)
            | "Spread" >> beam.Reshuffle()
            | "Normalise" >> Normalise(folder, self.builder_config.settings)
        )
        sentences = found[FAILED] | "Say" >> beam.Map(lambda failure: failure[1])
        sentences | "Write" >> beam.io.WriteToText(f"{self.data_dir}/{FAILURES}", ".txt", num_shards=1)
        return {"train": found[FACES]}

    def _generate_examples(self, *_: Any) -> Any:
        raise NotImplementedError  # the pipeline's examples are given as they are
