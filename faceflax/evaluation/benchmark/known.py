"""Fingerprints of judges and degraded faces, kept so that a report from whole cells need not make them again."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

import faceflax
from faceflax.evaluation.benchmark import cells
from faceflax.files import write_json

_FILE = "known.json"


class Known(NamedTuple):
    """Fingerprints that an earlier run has taken: of the judges by name, and of the degraded faces by task."""

    judges: dict[str, str]
    degraded: dict[str, str]


def made_by(settings: ConfigDict, clean: str) -> dict[str, Any]:
    """What decides the fingerprints, as JSON knows it: code, device, judges' names, and the faces `clean`."""
    device = jax.devices()[0]
    return cells.measurer() | {
        "faceflax": faceflax.__version__,
        "device": [device.platform, device.device_kind, jax.device_count()],
        "batch_size": settings.eval.batch_size,
        "judges": sorted(settings.eval.judges),
        "dlib": _version("dlib-bin") or _version("dlib"),
        "clean": clean,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def read(workdir: Path, maker: dict[str, Any]) -> Known:
    """Returns what was known in `workdir`; nothing where something else made it, or code that no commit holds."""
    file = workdir / _FILE
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    is_same = kept.get("made_by") == maker and not maker["commit"].endswith("+changes")
    return Known(kept["judges"], kept["degraded"]) if is_same else Known({}, {})


def write(workdir: Path, maker: dict[str, Any], known: Known) -> None:
    """Keeps `known` in `workdir`; raises `UserError` when the disk does not take it."""
    write_json(workdir / _FILE, {"made_by": maker} | known._asdict())
