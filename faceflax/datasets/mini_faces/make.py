"""Writes faces.zip, the pictures of `mini_faces`: run once, by those who change the dataset.

    python -m faceflax.datasets.mini_faces.make FOLDER

FOLDER holds `NNNNN.jpg`, 5,000 faces of seed 2026 at 256x256, as `faceflax datasets build synthetic_faces` makes them.
Faces are drawn evenly: training ones from the numbers below 4700, the others from 4700 on, each from the split that
`synthetic_faces` puts it in. The same pictures give the same archive, byte for byte.
"""

import sys
import zipfile
from pathlib import Path

from faceflax.datasets import images
from faceflax.datasets.mini_faces.mini_faces import ARCHIVE, SPLITS
from faceflax.datasets.synthetic_faces.numbers import split_of
from faceflax.errors import UserError, run_main
from faceflax.files import atomic_path

SIZE = 128
QUALITY = 92  # the highest whose archive stays below 4 MB
NOTICE = """500 faces of nobody who exists, 128x128, in the splits train (400), validation (40) and test (60).

Each was made from random numbers by MobileStyleGAN with the weights in the package random-face 2021.7.21.1
(Apache License 2.0), then shrunk to 256x256 and 128x128; its name is its number i, whose seeds are (2026, i).
The weights were distilled from a generator trained on FFHQ, whose licence (CC BY-NC-SA 4.0) is non-commercial:
consider it before commercial use.
"""


def numbers() -> dict[str, list[int]]:
    """Returns the numbers of the faces of each split."""
    return {
        "train": _even([i for i in range(4700) if split_of(i) == "train"], SPLITS["train"]),
        "validation": _even([i for i in range(4700, 5000) if split_of(i) == "validation"], SPLITS["validation"]),
        "test": _even([i for i in range(4700, 5000) if split_of(i) == "test"], SPLITS["test"]),
    }


def _even(values: list[int], count: int) -> list[int]:
    return [values[i * len(values) // count] for i in range(count)]


def write(folder: Path, path: Path = ARCHIVE) -> None:
    """Writes the archive of the faces in `folder` to `path`; raises `UserError` when one is missing."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, "README.txt", NOTICE.encode())
        for split, chosen in numbers().items():
            for number in chosen:
                _add(archive, f"{split}/{number:05d}.jpg", _shrink(folder / f"{number:05d}.jpg"))


def _shrink(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing: name a folder with the 5,000 synthetic faces 00000.jpg to 04999.jpg")
    return images.encode_jpeg(images.square(images.decode(path.read_bytes()), SIZE), QUALITY)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0)), data)  # stored: JPEG does not deflate


def main() -> None:
    """Runs the program: one argument, the folder."""
    if len(sys.argv) != 2:
        raise UserError("usage: python -m faceflax.datasets.mini_faces.make FOLDER")
    write(Path(sys.argv[1]))
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_main(main)
