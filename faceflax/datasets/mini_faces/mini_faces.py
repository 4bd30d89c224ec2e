"""The builder of `mini_faces`; its pictures lie in faces.zip, which `make` wrote."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

ARCHIVE = Path(__file__).with_name("faces.zip")
SPLITS = {"train": 400, "validation": 40, "test": 60}


class MiniFaces(tfds.core.GeneratorBasedBuilder):
    """500 faces of nobody who exists, 128x128; needs no download."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        with zipfile.ZipFile(ARCHIVE) as archive:
            notice = archive.read("README.txt").decode()
        return tfds.core.DatasetInfo(
            builder=self,
            description=notice,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(128, 128, 3), encoding_format="jpeg"),
                    "name": tfds.features.Text(),
                }
            ),
            license="Apache-2.0; made with weights trained on FFHQ, whose licence (CC BY-NC-SA 4.0) is non-commercial",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        with zipfile.ZipFile(ARCHIVE) as archive:
            names = sorted(name for name in archive.namelist() if name.startswith(f"{split}/"))
            for position, name in enumerate(names):
                yield position, {"image": archive.read(name), "name": Path(name).stem}
