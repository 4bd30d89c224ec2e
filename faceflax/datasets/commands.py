"""What `faceflax datasets list | show | build` does."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.table import Table

from faceflax.datasets import images, registry
from faceflax.datasets.synthetic_faces.recipe import FaceGenerator
from faceflax.errors import UserError
from faceflax.files import atomic_path
from faceflax.preprocessing import console


def run(arguments: argparse.Namespace, make_generator: Callable[[], FaceGenerator]) -> int:
    """Runs the action that the arguments name; returns the exit status.

    `make_generator` gives what makes synthetic faces; it is called when the first one is due.
    """
    if arguments.action == "build":
        _build(arguments, make_generator)
    else:
        {"list": _list, "show": _show}[arguments.action](arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    table = Table("name", "images", "size", "what it is", box=None)
    for name in registry.names():
        builds = registry.prepared_folders(name, arguments.data_dir)
        infos = [tfds.builder_from_directory(str(folder)).info for folder in builds]
        for info in infos:
            full_name = f"{name}/{info.config_name}" if info.config_name else name
            table.add_row(full_name, f"{_count(info):,}", str(info.dataset_size), registry.DESCRIPTIONS[name])
        if not infos:
            table.add_row(name, "not built", "", registry.DESCRIPTIONS[name])
    Console().print(table)
    print(f"in {registry.data_folder(arguments.data_dir)}; faceflax datasets build NAME builds one")


def _show(arguments: argparse.Namespace) -> None:
    where = {"data_dir": arguments.data_dir, "folder": arguments.folder}
    if arguments.out:
        console.check_place(Path(arguments.out))
    source = registry.load(arguments.name, "all", **where)
    info = tfds.builder_from_directory(source.folder).info
    print(f"{arguments.name} {info.version}, {info.dataset_size}, in {source.folder}\n")
    print(f"{info.description.strip()}\n")
    print(f"licence: {(info.redistribution_info.license or 'see its publisher').strip()}")
    print(f"features: {', '.join(f'{name} {_feature(feature)}' for name, feature in info.features.items())}")
    for split in info.splits:
        fingerprint = registry.load(arguments.name, split, **where).fingerprint
        print(f"{split}: {info.splits[split].num_examples:,} images, fingerprint {fingerprint}")
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_bytes(images.encode_png(contact_sheet(_sample(source, 16))))
        print(f"{arguments.out}: 16 of its images")


def _build(arguments: argparse.Namespace, make_generator: Callable[[], FaceGenerator]) -> None:
    if arguments.name in registry.OURS or not registry.prepared_folders(arguments.name, arguments.data_dir):
        config = _config(arguments, make_generator)
        dataset = registry.build(registry.builder(arguments.name, data_dir=arguments.data_dir, config=config))
        folder, info = Path(dataset.data_dir), dataset.info
    else:
        folder = registry.prepared_folders(arguments.name, arguments.data_dir)[0]
        info = tfds.builder_from_directory(str(folder)).info
    print(f"{folder}: {_count(info):,} images, {info.dataset_size}")
    for split in info.splits:
        print(f"  {split}: {info.splits[split].num_examples:,}")
    if arguments.name in registry.FOLDERS:
        _report_skipped(folder)


def _config(
    arguments: argparse.Namespace, make_generator: Callable[[], FaceGenerator]
) -> tfds.core.BuilderConfig | None:
    made = {"size": arguments.size, "seed": arguments.seed, "make_generator": make_generator}
    if arguments.name == "synthetic_faces":
        from faceflax.datasets.synthetic_faces.synthetic_faces import SyntheticFacesConfig

        return SyntheticFacesConfig(count=arguments.count, **made)
    if arguments.name == "synthetic_people":
        from faceflax.datasets.synthetic_people.synthetic_people import SyntheticPeopleConfig

        return SyntheticPeopleConfig(people=arguments.count, pictures=arguments.pictures, **made)
    if arguments.name in registry.FOLDERS:
        from faceflax.datasets.face_folder.face_folder import FaceFolderConfig

        if not arguments.folder:
            command = f"faceflax datasets build {arguments.name} --folder FOLDER"
            raise UserError(f"name the folder of your photographs: {command}")
        return FaceFolderConfig(folder=Path(arguments.folder))
    return None


def _report_skipped(folder: Path) -> None:
    from faceflax.datasets.face_folder.face_folder import SKIPPED

    lines = (folder / SKIPPED).read_text(encoding="utf-8").splitlines()
    if lines:
        print(f"{len(lines)} photographs were skipped, listed in {folder / SKIPPED}:")
        print("\n".join(f"  {line}" for line in lines[:10]))


def contact_sheet(faces: Iterable[np.ndarray], columns: int = 4, side: int = 192) -> np.ndarray:
    """Returns the central squares of uint8 RGB images of any size in rows of `columns`, uint8 [H, W, 3]."""
    tiles = [images.square(face, side) for face in faces]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)])


def _sample(source: registry.Source, count: int) -> list[np.ndarray]:
    count = min(count, len(source))
    return [images.decode(source[i * len(source) // count]["image"]) for i in range(count)]


def _count(info: tfds.core.DatasetInfo) -> int:
    return sum(split.num_examples for split in info.splits.values())


def _feature(feature: tfds.features.FeatureConnector) -> str:
    if isinstance(feature, tfds.features.Text):
        return "(text)"
    shape = "x".join("?" if side is None else str(side) for side in feature.shape or ())
    return f"({np.dtype(feature.np_dtype).name}{' ' + shape if shape else ''})"
