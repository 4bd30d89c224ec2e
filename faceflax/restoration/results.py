"""What is published of a file that was restored: its result, never beside what an earlier run said of another one."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faceflax.files import atomic_path, parse_json
from faceflax.preprocessing import images
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.inputs import Job


def report_path(output: Path) -> Path:
    """Where the report on the file that becomes `output` is written."""
    return output.with_suffix(".json")


def comparison_path(output: Path) -> Path:
    """Where the photograph that becomes `output` is written beside itself as it was."""
    return output.with_name(f"{output.stem}.compare{output.suffix}")


def files_of(jobs: Iterable[Job]) -> frozenset[str]:
    """Returns the real paths of all that the jobs read, and of their results."""
    paths = (path for job in jobs for path in (job.source, job.mask, job.output) if path)
    return frozenset(os.path.realpath(path) for path in paths)


def write(output: Path, photograph: Photograph, taken: frozenset[str]) -> None:
    """Writes a PNG as `images.write`, in the place of an earlier run's result with all that went with it.

    `taken` is as for `forget`. Raises `UserError` if it cannot; then the earlier result stays, and so does what goes
    with it, unless the very last step fails, which puts the new result in its place: `forget` came before that.
    """
    encoded = images.encode(photograph)
    with atomic_path(output) as temporary:
        temporary.write_bytes(encoded)
        forget(output, taken)


def forget(output: Path, taken: frozenset[str] = frozenset()) -> None:
    """Removes the report of an earlier run on `output`, and the comparison that it names; to be called last before
    `output` is replaced, so that a new result never lies beside an old report, even if the process ends in between.

    Files that no report of ours names stay, and such as are `taken`: the real paths of other inputs and results.
    Raises `OSError` if one cannot be removed.
    """
    report = _read(report_path(output))
    if "faceflax" not in report or Path(str(report.get("result"))).name != output.name:
        return
    pair = comparison_path(output)
    former = [pair] if report.get("comparison") == pair.name else []
    for path in (*former, report_path(output)):
        if os.path.realpath(path) not in taken:
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
