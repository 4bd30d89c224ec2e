"""Datasets by name: where they lie once prepared, and how they are read."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging as absl_logging
from tensorflow_datasets.core.utils import lazy_imports_utils

from faceflax.assets import cache_folder
from faceflax.datasets.face_folder import listing
from faceflax.errors import UserError
from faceflax.files import close_folder

DESCRIPTIONS = {
    "mini_faces": "500 synthetic faces at 128x128, shipped with faceflax",
    "synthetic_faces": "any number of synthetic faces, up to 1024x1024, made on this machine",
    "synthetic_people": "any number of people who do not exist, several pictures of each, made on this machine",
    "orl_faces": "400 photographs of 40 people with their identities, grey, 92x112",
    "face_folder": "a folder of your own photographs",
    "people_folder": "a folder of your own photographs, in a folder for each person: with identities",
    "celeb_a": "202,599 photographs of celebrities, 178x218 (public, downloaded by tensorflow-datasets)",
    "lfw": "13,233 photographs of 5,749 people, 250x250 (public, downloaded by tensorflow-datasets)",
}
OURS = ("mini_faces", "synthetic_faces", "synthetic_people", "orl_faces", "face_folder", "people_folder")
_MADE_HERE = (*OURS, "gallery_vectors")  # nothing is downloaded for them
FOLDERS = ("face_folder", "people_folder")
"""Those that are made of a folder of the user's."""
_PRIVATE = ("people_folder", "gallery_vectors")  # who real people are: their builds are their owner's alone

_SAMPLE = 1024


@dataclasses.dataclass(frozen=True)
class Source:
    """The examples of one split: `source[i]` is a dict with `image`, encoded bytes, and the dataset's other features.

    It can be sent to another process, which opens the files anew.
    """

    folder: str
    split: str

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._examples[index]

    @functools.cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the dataset's name, version, configuration and split, and its images.

        Of a `face_folder` every image counts, and the folder's place does not. Of other datasets with more than 1,024
        images an even sample of that many is read.
        """
        info = self.info
        digest = hashlib.sha256(json.dumps([info.name, str(info.version), self.split, len(self)]).encode())
        contents = (info.metadata or {}).get("contents")
        if contents:
            digest.update(json.dumps(contents, sort_keys=True).encode())
        else:
            digest.update(str(info.config_name).encode())
            count = min(len(self), _SAMPLE)
            for i in range(count):
                digest.update(hashlib.sha256(self[i * len(self) // count]["image"]).digest())
        return digest.hexdigest()[:12]

    @property
    def info(self) -> tfds.core.DatasetInfo:
        """What tfds knows of the dataset: its name, configuration and features."""
        return self._builder.info

    @functools.cached_property
    def _builder(self) -> tfds.core.DatasetBuilder:
        return tfds.builder_from_directory(self.folder)

    @functools.cached_property
    def _examples(self) -> Sequence[dict[str, Any]]:
        return self._builder.as_data_source(self.split, decoders={"image": tfds.decode.SkipDecoding()})

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "split": self.split}


def names() -> tuple[str, ...]:
    """Returns the datasets we know by name; any other tfds dataset with an `image` key works too."""
    return tuple(DESCRIPTIONS)


def data_folder(data_dir: str | None = None) -> Path:
    """Returns the folder of prepared datasets: `data_dir`, else `$TFDS_DATA_DIR`, else datasets/ in the cache."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or cache_folder() / "datasets").expanduser()


def load(name: str, split: str, *, data_dir: str | None = None, folder: str | None = None) -> Source:
    """Returns the examples of a split, such as "train" or "test[:100]", of a prepared dataset.

    `name` is one of `names()`, or of any tfds dataset that was prepared as array records in `data_dir`; "NAME/CONFIG"
    chooses among several builds. `folder` is the user's for `FOLDERS`. `mini_faces` is prepared at its first
    use. Raises `UserError` for a dataset that is not there, naming the command that builds it, for photographs that
    changed since, for damaged files, for a split that it does not have, and for a dataset without an `image`.
    """
    if name == "mini_faces":
        prepared = Path(build(builder("mini_faces", data_dir=data_dir)).data_dir)
    else:
        prepared = _find(name, data_folder(data_dir), folder)
    source = Source(str(prepared), split)
    _check(name, source)
    return source


def _check(name: str, source: Source) -> None:
    """Raises `UserError` unless the split exists, its first and last example can be read, and they have an image."""
    info = tfds.builder_from_directory(source.folder).info
    if "image" not in info.features:
        raise UserError(f"{name} has no image in its examples; choose a dataset of photographs")
    again = f"delete {source.folder} and run: faceflax datasets build {name.split('/')[0]}"
    try:
        for index in {0, len(source) - 1} if len(source) else ():
            source[index]
    except NotImplementedError as error:
        raise UserError(f"{name} is not in the array_record format: {again}") from error
    except RuntimeError as error:
        raise UserError(f"the files of {name} are damaged: {again}") from error
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f'{name} has no split "{source.split}": it has {", ".join(info.splits)}') from error


def builder(name: str, *, data_dir: str | None = None, config: Any = None) -> tfds.core.DatasetBuilder:
    """Returns the builder of one of `OURS`, of `gallery_vectors`, or of a public dataset.

    Raises `UserError` for an unknown name, and for a package that is missing.
    """
    place = str(data_folder(data_dir))
    if name in _MADE_HERE:
        module = importlib.import_module(f"faceflax.datasets.{name}.{name}")
        kind = getattr(module, "".join(part.title() for part in name.split("_")))
        with _quiet():
            return kind(data_dir=place, config=config)
    try:
        return tfds.builder(name, data_dir=place)
    except ImportError as error:
        raise _missing_package(name, error.name) from error
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(f'there is no dataset "{name}": faceflax datasets list shows those there are') from error


def build(dataset: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """Prepares a dataset as array records where it is not prepared yet, and returns its builder.

    Of a public dataset tfds shows its own progress. Nobody else can look into the folder of one that tells who real
    people are. Raises `UserError` when that cannot be downloaded, needs a package
    that is missing or files that must be fetched by hand, or the place cannot be written.
    """
    is_made_here = dataset.name in _MADE_HERE
    quiet = _quiet() if is_made_here else contextlib.nullcontext()
    try:
        if dataset.name in _PRIVATE:
            close_folder(Path(dataset.data_dir).parents[1])  # of all its builds
        with quiet, tempfile.TemporaryDirectory(prefix="faceflax-downloads-") as nothing:
            if not dataset.is_prepared():
                if _uses_tensorflow(dataset) and importlib.util.find_spec("tensorflow") is None:
                    raise _missing_package(dataset.name, "tensorflow")
                # Where tfds would put downloads it makes folders, also for what has none.
                downloads = nothing if is_made_here else None
                dataset.download_and_prepare(download_dir=downloads, file_format="array_record")
    except ImportError as error:
        raise _missing_package(dataset.name, error.name) from error
    except AssertionError as error:
        if not dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
            raise
        raise UserError(" ".join(f"{dataset.name} must be downloaded by hand: {error}".split())) from error
    except (OSError, RuntimeError, tfds.download.DownloadError) as error:  # array_record's writer raises RuntimeError
        if not Path(dataset.data_dir).exists():  # else another process was quicker
            reason = getattr(error, "strerror", None) or str(error).split(";")[0]
            raise UserError(
                f"cannot build {dataset.name} in {dataset.data_dir}: {reason}; mend that, or choose another data_dir"
            ) from error
    return dataset


def _uses_tensorflow(dataset: tfds.core.DatasetBuilder) -> bool:
    """Whether the builder's module names TensorFlow, which tfds imports at its first use: after the download."""
    return any(value is lazy_imports_utils.tensorflow for value in vars(sys.modules[type(dataset).__module__]).values())


def _missing_package(dataset: str, package: str | None) -> UserError:
    if package == "tensorflow":
        return UserError(f"building {dataset} needs TensorFlow: pip install 'faceflax[tensorflow]'")
    return UserError(f"building {dataset} needs the Python package {package}: install it with pip")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps tfds from announcing, warning and drawing bars about datasets that are made in a moment, or by us."""
    level = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        absl_logging.set_verbosity(level)


def prepared_folders(name: str, data_dir: str | None = None) -> list[Path]:
    """Returns the folders of the builds of `name`, or of "NAME/CONFIG": for each configuration its newest version."""
    found: dict[Path, tuple[tfds.core.Version, Path]] = {}
    for path in (data_folder(data_dir) / name).glob("**/dataset_info.json"):
        if tfds.core.Version.is_valid(path.parent.name):
            version = tfds.core.Version(path.parent.name)
            newest = found.get(path.parent.parent)
            if newest is None or version > newest[0]:
                found[path.parent.parent] = (version, path.parent)
    return [path for _, path in sorted(found.values(), key=lambda item: str(item[1]))]


def _find(name: str, place: Path, folder: str | None) -> Path:
    if name in FOLDERS:
        return _find_folder(name, place, folder)
    builds = prepared_folders(name, str(place))
    if not builds:
        raise UserError(f"{name} is not in {place}: run faceflax datasets build {name.split('/')[0]}")
    if len(builds) > 1:
        options = ", ".join(f"{name}/{path.parent.name}" for path in builds)
        raise UserError(f"there are several builds of {name}: choose one of {options}")
    return builds[0]


def _find_folder(name: str, place: Path, folder: str | None) -> Path:
    if not folder:
        raise UserError(f"{name} needs the folder of the photographs: set config.data.folder")
    command = f"faceflax datasets build {name} --folder {folder}"
    exact = prepared_folders(f"{name}/{listing.config_name(Path(folder))}", str(place))
    if exact:
        return exact[0]
    if any((place / name).glob(f"{listing.prefix(Path(folder))}*")):
        raise UserError(f"the photographs in {folder} changed since their dataset was built: run {command}")
    raise UserError(f"no dataset was built of {folder} in {place}: run {command}")
