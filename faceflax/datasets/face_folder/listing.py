"""What lies in a user's folder, and which split each file belongs to."""

import hashlib
import os
import re
from pathlib import Path

from faceflax.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SHARD_BYTES = 256 << 20
SPLITS = ("train", "validation", "test")


def photographs(folder: Path) -> dict[str, os.stat_result]:
    """Returns the photographs at any depth below `folder`: their relative paths with "/", sorted, and their status.

    Hidden files and folders are left out; links to folders are not followed. Raises `UserError` when there is no such
    folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name the folder of your photographs")
    found = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(parent, name)
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path.stat()
    if not found:
        raise UserError(f"{folder} holds no photograph: its files must end in {', '.join(SUFFIXES)}")
    return dict(sorted(found.items()))


def prefix(folder: Path) -> str:
    """Returns a name for a folder: its last part made plain, and a hash of its whole path."""
    folder = folder.resolve()
    plain = re.sub(r"[^A-Za-z0-9]+", "_", folder.name).strip("_") or "folder"
    return f"{plain}-{_digest(str(folder))}-"


def config_name(folder: Path) -> str:
    """Returns a name for a folder as it is now: it changes when a photograph is added, removed or written anew."""
    state = [f"{path}\0{status.st_size}\0{status.st_mtime_ns}" for path, status in photographs(folder).items()]
    return prefix(folder) + _digest("\n".join(state))


def split_of(path: str) -> str:
    """Returns "train" (80%), "validation" (10%) or "test" (10%): a hash of the relative path decides.

    So a photograph stays in its split whatever else is added to the folder. What lies in a folder of a split's name at
    the top belongs to that split.
    """
    top = path.split("/")[0] if "/" in path else ""
    if top in SPLITS:
        return top
    share = int(hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 16**8
    if share < 0.8:
        return "train"
    return "validation" if share < 0.9 else "test"


def shards(files: dict[str, os.stat_result]) -> dict[str, list[list[str]]]:
    """Returns, for each split, its photographs' paths in shards of about 256 MiB."""
    splits: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    filled = dict.fromkeys(splits, SHARD_BYTES)
    for path, status in files.items():
        split = split_of(path)
        if filled[split] + status.st_size > SHARD_BYTES:
            splits[split].append([])
            filled[split] = 0
        splits[split][-1].append(path)
        filled[split] += status.st_size
    return splits


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:10]
