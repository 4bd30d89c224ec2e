"""What a command line asks for: which files are restored, with which masks, and under which names."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from faceflax.errors import UserError
from faceflax.preprocessing import acquire
from faceflax.preprocessing.images import SUFFIXES


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to restore."""

    source: Path
    output: Path
    mask: Path | None


def plan(
    inputs: Sequence[Path], out: Path, masks: Path | None, suffixes: tuple[str, ...] = SUFFIXES
) -> tuple[list[Job], list[str]]:
    """Returns the images to restore, in order, and one sentence for each input that cannot be.

    A file becomes `out/NAME.png`, also one that fits a pattern; of a folder all images at any depth,
    `out/SUBFOLDER/NAME.png`. Where several files would share such a name, each has its suffix in it,
    `out/NAME.jpg.png`, whatever their order; if these are one too, it goes to the first by path. Of folders and of what
    fits a pattern, hidden files, links to folders, other files than images, and `masks` and `out` and what lies below
    them are passed over; neither `out` nor a folder below it is an input. A file named twice is restored once. No file
    that is read is ever written.

    Args:
      inputs: files, folders and patterns of their names.
      out: folder of the results.
      masks: None; one mask for all; or a folder of masks that lie in it as the results do in `out`, of any suffix; a
        result with its file's suffix in its name may have a mask without. Videos have none.
      suffixes: of the files that are taken out of folders.

    Raises:
      UserError: `masks` does not exist.
    """
    if masks is not None and not masks.exists():
        raise UserError(f"--mask {masks}: no such file or folder; check the name")
    kept_out = [os.path.realpath(folder) for folder in (out, masks) if folder is not None]
    mask_files = _masks_by_stem(masks) if masks is not None and masks.is_dir() else {}
    failures: list[str] = []
    found: dict[str, tuple[Path, Path]] = {}
    for source, name in _sources(inputs, kept_out, failures, suffixes):
        found.setdefault(os.path.realpath(source), (source, name))
    named, clashes = _name_results(list(found.values()))
    failures += clashes
    jobs: dict[Path, Job] = {}
    for source, name, result in named:
        output = out / result.parent / f"{result.name}.png"
        try:
            mask = None
            if masks is not None and not acquire.is_video(source):
                mask = masks if masks.is_file() else _mask_of(source, (result, name.with_suffix("")), masks, mask_files)
            if mask is not None and os.path.realpath(mask) == os.path.realpath(source):
                raise UserError(
                    f"{source}: is its own --mask, in which all but black and what is transparent is missing; draw one "
                    "that is white where its holes are and black elsewhere"
                )
            jobs[output] = Job(source, output, mask)
        except UserError as error:
            failures.append(str(error))
    read = set(found) | {os.path.realpath(job.mask) for job in jobs.values() if job.mask}
    for output in [output for output in jobs if os.path.realpath(output) in read]:
        failures.append(f"{jobs[output].source}: its result would overwrite {output}; choose another --out")
        del jobs[output]
    return list(jobs.values()), failures


def _name_results(found: Sequence[tuple[Path, Path]]) -> tuple[list[tuple[Path, Path, Path]], list[str]]:
    """Adds to each source and its name the name of its result, without suffix; a sentence for each that has none."""
    shared = collections.Counter(name.with_suffix("") for _, name in found)
    results = [
        name.with_suffix("") if shared[name.with_suffix("")] == 1 else name.with_suffix(name.suffix.lower())
        for _, name in found
    ]
    owners: dict[Path, Path] = {}
    for (source, _), result in zip(found, results, strict=True):
        owners[result] = min(source, owners.get(result, source))
    named, failures = [], []
    for (source, name), result in zip(found, results, strict=True):
        if owners[result] == source:
            named.append((source, name, result))
        else:
            failures.append(
                f"{source}: its result would have the name of that of {owners[result]}; rename one or run it apart"
            )
    return named, failures


def list_images(inputs: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Returns the image files that are meant, in order, each with its path below the folder given (a file's own name).

    Of a folder, all images at any depth; hidden files and links to folders are passed over. The second list has one
    sentence for each input that cannot be read or holds no images.
    """
    failures: list[str] = []
    return list(_sources(inputs, (), failures, SUFFIXES)), failures


def _sources(
    inputs: Sequence[Path], kept_out: Sequence[str], failures: list[str], suffixes: tuple[str, ...]
) -> Iterator[tuple[Path, Path]]:
    """Yields each file with its name below `out`; adds a sentence to `failures` for an input that holds none."""
    for given in inputs:
        if acquire.is_pattern(os.fspath(given)):
            yield from _fitting(given, kept_out, failures, suffixes)
        elif given.is_dir() and os.path.realpath(given) in kept_out[:1]:
            failures.append(f"{given}: results in it would be read as photographs the next time; choose another --out")
        elif given.is_dir() and _is_below(given, kept_out[:1]):
            failures.append(f"{given}: lies in --out, where pictures are results; choose another --out")
        elif given.is_dir():
            count = 0
            for path in _images_below(given, kept_out, failures, suffixes):
                count += 1
                yield path, path.relative_to(given)
            if not count:
                failures.append(
                    f"{given}: holds no images (files ending in {', '.join(suffixes)}); name another folder"
                )
        elif given.is_file():
            yield given, Path(given.name)
        elif given.exists():
            failures.append(f"{given}: neither a file nor a folder; save what it gives to a file first")
        else:
            failures.append(f"{acquire.shown(str(given))}: no such file or folder; check the name")


def _fitting(
    pattern: Path, kept_out: Sequence[str], failures: list[str], suffixes: tuple[str, ...]
) -> Iterator[tuple[Path, Path]]:
    """As `_sources`, of what fits a pattern and would be taken out of a folder."""
    count = 0
    for path in acquire.expand(os.fspath(pattern)):
        if _is_below(path, kept_out):
            continue
        if path.is_dir():
            found = [(below, below.relative_to(path)) for below in _images_below(path, kept_out, failures, suffixes)]
        else:
            found = [(path, Path(path.name))] * (path.is_file() and path.name.lower().endswith(suffixes))
        count += len(found)
        yield from found
    if not count:
        shown, kinds = acquire.shown(os.fspath(pattern)), ", ".join(suffixes)
        failures.append(
            f"{shown}: no image fits it (a file ending in {kinds}, not hidden, not below --out); try another pattern"
        )


def _images_below(
    folder: Path, kept_out: Iterable[str], failures: list[str], suffixes: tuple[str, ...]
) -> Iterator[Path]:
    def note(error: OSError) -> None:
        failures.append(f"{error.filename}: cannot be read: {error.strerror}; check its permissions")

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) not in kept_out
        )
        for name in sorted(files):
            path = Path(parent, name)
            is_special = path.exists() and not path.is_file()  # reading a pipe would wait for ever
            is_kept_out = is_special or os.path.realpath(path) in kept_out
            if name.lower().endswith(suffixes) and not name.startswith(".") and not is_kept_out:
                yield path


def _is_below(path: Path, kept_out: Iterable[str]) -> bool:
    """Whether a file or folder is one of those that are kept out, or lies below one."""
    return any(Path(os.path.realpath(path)).is_relative_to(kept) for kept in kept_out)


def _masks_by_stem(folder: Path) -> dict[Path, list[Path]]:
    """The masks below `folder` by their relative path without suffix."""
    found: dict[Path, list[Path]] = {}
    for path in _images_below(folder, (), [], SUFFIXES):
        found.setdefault(path.relative_to(folder).with_suffix(""), []).append(path)
    return found


def _mask_of(source: Path, names: Sequence[Path], folder: Path, masks: dict[Path, list[Path]]) -> Path:
    """The mask of the first of `names` that has one."""
    found = next((masks[name] for name in names if name in masks), [])
    if not found:
        raise UserError(
            f"{source}: {folder} holds no mask named {names[-1]}, of any image suffix; draw one, black "
            "where nothing is missing, or leave the image out"
        )
    if len(found) > 1:
        raise UserError(f"{source}: {found[0]} and {found[1]} are both masks of its name; remove one")
    return found[0]
