"""The builder of `face_folder`."""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from faceflax.datasets import images
from faceflax.datasets.face_folder import listing
from faceflax.datasets.sharded import ShardedBuilder
from faceflax.errors import UserError
from faceflax.files import write_text
from faceflax.preprocessing import colour, headers, pillow

MIN_SIDE = 32  # pixels; no face can be learnt from less
SKIPPED = "skipped.txt"


@dataclasses.dataclass(kw_only=True)
class FaceFolderConfig(tfds.core.BuilderConfig):
    """A folder as it is now."""

    name: str = ""
    folder: Path

    def __post_init__(self) -> None:
        self.name = listing.config_name(self.folder)


class FaceFolder(ShardedBuilder):
    """The photographs of a folder, at any depth: jpg, jpeg, png, webp.

    What cannot be used is left out and listed with its reason in `skipped.txt` beside the data. A JPEG or PNG of 8-bit
    RGB is stored as it is; another photograph as the PNG of its upright RGB image.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"The photographs of {self.builder_config.folder.resolve()}.",
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(None, None, 3)), "name": tfds.features.Text()}
            ),
            license="the photographs' own",
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def plan(self) -> dict[str, list[list[str]]]:
        """Returns the relative paths of each shard of each split."""
        return listing.shards(listing.photographs(self.builder_config.folder))

    def example(self, item: str) -> dict[str, Any] | None:
        """Returns the photograph at relative path `item`; None when it cannot be used."""
        try:
            item.encode()
            return {"image": normalise((self.builder_config.folder / item).read_bytes()), "name": item}
        except (OSError, ValueError):  # a name that is not UTF-8 is a ValueError too
            return None

    def _download_and_prepare(self, dl_manager: tfds.download.DownloadManager, download_config: Any = None) -> None:
        super()._download_and_prepare(dl_manager, download_config)
        # Read back rather than noted on the way, for some shards may come from an earlier, killed build.
        names, contents = set(), {}
        for split in self.info.splits:
            digest = hashlib.sha256()
            for example in self.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()}):
                names.add(example["name"].decode())
                digest.update(hashlib.sha256(example["name"]).digest() + hashlib.sha256(example["image"]).digest())
            contents[split] = digest.hexdigest()
        left_out = [path for path in listing.photographs(self.builder_config.folder) if path not in names]
        reasons = [f"{os.fsencode(path).decode(errors='replace')}: {self._reason(path)}" for path in left_out]
        if not names:
            raise UserError(f"none of the photographs in {self.builder_config.folder} can be used: {reasons[0]}")
        self.info.metadata["contents"] = contents
        write_text(Path(self.data_dir) / SKIPPED, "".join(f"{line}\n" for line in reasons))

    def _reason(self, path: str) -> str:
        try:
            normalise((self.builder_config.folder / path).read_bytes())
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:
            return str(error)
        if "\ufffd" in os.fsencode(path).decode(errors="replace"):
            return "its name is not UTF-8"
        return "it changed while the dataset was built"


def normalise(encoded: bytes) -> bytes:
    """Returns a photograph as JPEG or PNG of 8-bit RGB, upright; the same bytes where it is that already.

    Raises `ValueError` when it cannot be decoded, is truncated, or less than 32 pixels wide or high.
    """
    headers.check(encoded)
    image = colour.to_srgb(images.decode(encoded), pillow.metadata(encoded)[0])
    if min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"{image.shape[1]}x{image.shape[0]} pixels are less than {MIN_SIDE}")
    stored = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    is_plain = encoded.startswith((b"\xff\xd8", b"\x89PNG")) and stored.dtype == np.uint8 and stored.ndim == 3
    is_plain = is_plain and stored.shape == image.shape and np.array_equal(stored[..., ::-1], image)
    return encoded if is_plain else images.encode_png(image)
