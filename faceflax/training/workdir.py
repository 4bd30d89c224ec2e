"""The workdir of a run: who uses it, the configuration it was made with, and the manifest of what made it."""

import contextlib
import datetime
import fcntl
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import faceflax
from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.files import write_json, write_text

MAY_CHANGE = (
    "train.",
    "eval.",
    "wandb.",
    "parallel.",
    "profile",
    "model.remat",
    "data.workers",
    "data.data_dir",
    "data.eval_split",
    "data.test_split",
)
"""How the names of fields begin that may differ when a run is taken up again: how long, how often, where, in what
memory.

The rest decides what the parameters become: micro-batches, too, where a loss is no mean over the images of a batch.
"""
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "dm-pix", "numpy")


@contextlib.contextmanager
def locked(workdir: Path, *, active: bool = True) -> Iterator[None]:
    """Holds the workdir for this process; the lock ends with the process, however it ends.

    Of a run of several processes one alone is `active`: it holds the lock for all.

    Raises `UserError` when another process holds it or the folder cannot be made.
    """
    if not active:
        yield
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot use the workdir {workdir}: {error.strerror}; choose another --workdir") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"the workdir {workdir} is in use by another process; wait for it, or choose another --workdir"
            ) from error
        yield


def read_config(workdir: Path) -> ConfigDict:
    """Returns the configuration that the workdir was trained with.

    Raises `UserError` when it holds none, or one that cannot be read.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} is not a workdir of a trained model: it has no config.json; train one first")
    try:
        return config_lib.from_json(path.read_bytes())
    except UserError as error:
        raise UserError(f"{workdir}: {error}") from error


def read_manifest(workdir: Path) -> dict[str, Any]:
    """Returns the manifest of the workdir's training; empty when it has none."""
    path = workdir / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_start_time(workdir: Path) -> float | None:
    """Returns when the workdir's training was first started, in seconds since the epoch; None when nothing says so."""
    started = read_manifest(workdir).get("started")
    return started and datetime.datetime.fromisoformat(started).timestamp()


def write_origin(workdir: Path, step: int, shipped: Mapping[str, Any] | None = None) -> None:
    """Records the step of the checkpoint, of `config.init_from`, that the training started from.

    `shipped` has, by name, what tells each model of the package that it started from as it was then from later ones.
    """
    write_json(workdir / "origin.json", {"step": step, "shipped": dict(shipped or {})})


def read_origin(workdir: Path) -> int:
    """Returns the step that `write_origin` recorded; raises `UserError` when there is none."""
    try:
        return json.loads((workdir / "origin.json").read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{workdir} does not say in origin.json which checkpoint its training started from") from error


def read_shipped_origins(workdir: Path) -> dict[str, Any]:
    """Returns what `write_origin` recorded of the package's models; empty where nothing says so."""
    path = workdir / "origin.json"
    return json.loads(path.read_text(encoding="utf-8")).get("shipped", {}) if path.is_file() else {}


def write_start(workdir: Path, config: ConfigDict, manifest: dict[str, Any], *, active: bool) -> None:
    """Records `config` and `manifest` as the workdir's own; of a run of several processes only the active one writes.

    A workdir that holds checkpoints keeps its manifest, and later starts that differ are listed in it as `resumed`.
    `started` is the time of the first start, of those that came to no checkpoint too where the config was the same.
    Raises `UserError`, in every process, when its checkpoints were made from other data, or with another config in a
    field that decides the parameters.
    """
    before = read_manifest(workdir)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    if any((workdir / "checkpoints").glob("*")):
        _check_config(workdir, config)
        manifest = _add_start(workdir, manifest)
    if before.get("config") == manifest["config"]:
        started = before.get("started", started)
    if active:
        write_text(workdir / "config.json", config_lib.to_json(config) + "\n")
        write_json(workdir / "manifest.json", manifest | {"started": started})


def _check_config(workdir: Path, config: ConfigDict) -> None:
    changed = decisive_changes(workdir, config)
    if changed:
        raise UserError(
            f"{workdir} was made with another config ({changed}); choose another --workdir, or run with the same config"
        )


def decisive_changes(workdir: Path, config: ConfigDict) -> str:
    """Says in which fields that decide the parameters `config` differs from the workdir's own; "" where in none.

    Raises `UserError` when the workdir's own cannot be read.
    """
    if not (workdir / "config.json").exists():
        return ""
    old, new = (json.loads(config_lib.to_json(c)) for c in (read_config(workdir), config))
    return describe([name for name in differences(old, new) if not name.startswith(MAY_CHANGE)], old, new)


def _add_start(workdir: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    path = workdir / "manifest.json"
    if not path.exists():
        return manifest
    first = json.loads(path.read_text(encoding="utf-8"))
    if first["dataset"] != manifest["dataset"]:
        raise UserError(
            f"{workdir} was trained on {first['dataset']['name']} {first['dataset']['fingerprint']}, which is now "
            f"{manifest['dataset']['fingerprint']}; choose another --workdir, or bring the former data back"
        )
    starts = [
        {key: value for key, value in first.items() if key not in ("resumed", "started")},
        *first.get("resumed", []),
    ]
    if manifest != starts[-1]:
        starts.append(manifest)
    return starts[0] | ({"resumed": starts[1:]} if starts[1:] else {})


def differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Returns the names, such as "model.width", of what differs between two configurations as JSON knows them."""
    names = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(prefix + key)
    return names


def describe(changed: Sequence[str], old: dict, new: dict) -> str:
    """Says what the fields `changed` were in `old` and are in `new`: the first three of them."""

    def value(tree: dict, name: str) -> Any:
        for key in name.split("."):
            tree = tree.get(key, {})
        return tree

    shown = [f"config.{name} was {value(old, name)}, now {value(new, name)}" for name in changed[:3]]
    more = [f"{len(changed) - 3} more"] if len(changed) > 3 else []
    return "; ".join(shown + more)


def manifest(config: ConfigDict, dataset_fingerprint: str, dataset: str = "") -> dict[str, Any]:
    """What somebody else needs to make the same result: commit, config, data, versions, device, seed, command.

    `dataset` is the name of the data where that is not `config.data.dataset`.
    """
    return provenance() | {
        "config": config_lib.fingerprint(config),
        "dataset": {"name": dataset or config.data.dataset, "fingerprint": dataset_fingerprint},
        "seed": config.seed,
    }


def provenance() -> dict[str, Any]:
    """What made a result, whatever it is: commit, command, versions, device."""
    devices = jax.devices()
    return {
        "faceflax": faceflax.__version__,
        "commit": _commit(),
        "command": _command(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "device": {"kind": devices[0].device_kind, "count": len(devices), "processes": jax.process_count()},
    }


def _command() -> str:
    """The command line that started the process, as one would type it in the project's folder."""
    spec = sys.modules["__main__"].__spec__
    program = ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return shlex.join([*program, *sys.argv[1:]])


def _commit() -> str:
    """The commit of the checkout this package lies in, with "+changes" when files differ; "" outside a checkout."""

    def git(*arguments: str) -> str:
        folder = Path(faceflax.__file__).parent
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
