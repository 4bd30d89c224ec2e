"""The builder of `people_folder`."""

from pathlib import PurePosixPath
from typing import Any

import tensorflow_datasets as tfds

from faceflax.datasets.face_folder import listing
from faceflax.datasets.face_folder.face_folder import FaceFolder
from faceflax.errors import UserError


class PeopleFolder(FaceFolder):
    """As `FaceFolder`, of a folder that holds a folder of photographs for each person: its name is the `identity`.

    Of everybody a hash of the path holds photographs back for validation and test; in folders of a split's name, such
    as `train/ann/1.jpg`, they are split as these say.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        paths = listing.photographs(self.builder_config.folder)
        people = sorted({person for path in paths if (person := person_of(path))})
        if not people:
            raise UserError(
                f"{self.builder_config.folder} holds no folder of photographs for each person; use face_folder for it"
            )
        info = super()._info()
        features = {**info.features, "identity": tfds.features.ClassLabel(names=people)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{info.description} {len(people)} people.",
            features=tfds.features.FeaturesDict(features),
            license=info.redistribution_info.license,
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def example(self, item: str) -> dict[str, Any] | None:
        """As that of `FaceFolder`; None also for a photograph that lies beside the people's folders."""
        found, person = super().example(item), person_of(item)
        return found | {"identity": person} if found and person else None

    def _reason(self, path: str) -> str:
        return super()._reason(path) if person_of(path) else "it lies in no person's folder"


def person_of(path: str) -> str:
    """Returns the folder that bears a person's name, of a relative path; "" where there is none."""
    folders = PurePosixPath(path).parts[:-1]
    folders = folders[1:] if folders and folders[0] in listing.SPLITS else folders
    return folders[0] if folders else ""
