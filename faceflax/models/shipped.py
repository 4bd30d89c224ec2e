"""The restorers that come with the package: weights by name, each a file of `weights` beside this module."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.models import weights
from faceflax.models.inpainting import likely

FOLDER = Path(__file__).parent / "shipped"


def names() -> tuple[str, ...]:
    """Returns the names of the models in the package, the default one first."""
    found = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
    return tuple(sorted(found, key=lambda name: name != "cnn"))


def check(model: str | Path) -> None:
    """Raises `UserError` when `model` is neither one of `names()` nor the path of anything."""
    if model not in names() and not Path(model).exists():
        raise UserError(
            f'there is no model "{model}": it is not a workdir or file, nor one of those that come with faceflax, '
            "which `faceflax models` lists"
        )


def path(name: str) -> Path:
    """Returns where the weights of that name lie, or will lie, in the package."""
    return FOLDER / f"{name}.safetensors"


def size(name: str) -> int:
    """Returns the bytes of one of `names()`, and of what else in the package it needs: the faces that fill holes."""
    faces = likely.FILES.get(manifest(name)["config"]["model"].get("fill"))
    return path(name).stat().st_size + (faces.stat().st_size if faces else 0)


def read(name: str) -> tuple[ConfigDict, dict[str, Any], dict[str, Any]]:
    """Returns the configuration, parameters (float32 numpy arrays) and manifest of one of `names()`.

    The published part of a face prior may be left out, which `models.complete` adds. Raises `UserError` when the file
    is damaged, or of another version of faceflax.
    """
    params, manifest = weights.read(path(name))
    return config_lib.from_dict(manifest["config"]), params, manifest


def kind(manifest: dict[str, Any]) -> str:
    """Returns the arm that trained the model of a manifest; with the face prior inside, "prior" and then the arm."""
    arm = manifest["kind"]
    return f"prior ({arm})" if manifest["config"]["model"]["name"] == "face_prior" else arm


def manifest(name: str) -> dict[str, Any]:
    """Returns the manifest of one of `names()` alone; raises `UserError` when the file is damaged."""
    if name not in names():
        raise UserError(f'no model "{name}" comes with faceflax; it has {", ".join(names()) or "none"}')
    return weights.read_manifest(path(name))
