"""The tree keeps its shape: imports go one way, big libraries have one user each, and start-up stays fast."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A room imports only rooms of earlier rows.
ROWS = (
    ("errors",),
    ("files", "config", "progress"),
    ("assets",),
    ("preprocessing",),
    ("datasets",),
    ("degradations",),
    ("models",),
    ("metrics",),
    ("objectives",),
    ("training",),
    ("evaluation",),
    ("sweeps",),
    ("restoration",),
    ("recognition",),
    ("cli",),
)
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}
FILES = sorted((ROOT / "faceflax").rglob("*.py"))


def _imported(path):
    """Full names of what a file imports, at its top or inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _used(path):
    """Full names of what a file imports or reaches as an attribute: "jax.sharding.Mesh", "jax.jit"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    chains = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    parts = (chain.partition(".") for chain in chains)
    return [*_imported(path), *(f"{aliases.get(first, first)}.{rest}" for first, _, rest in parts)]


def _room(path):
    return path.relative_to(ROOT / "faceflax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    room = _room(path)
    if room == "__init__":
        return
    imported = [name for name in _imported(path) if name.startswith("faceflax.") and name != "faceflax.__version__"]
    wrong = [name for name in imported if name.split(".")[1] != room and ROW_OF[name.split(".")[1]] >= ROW_OF[room]]
    assert not wrong, f"{path.name} ({room}) imports {wrong}"
    assert not [name for name in _imported(path) if name.split(".")[0] in ("experiments", "tests", "configs")]


@pytest.mark.parametrize(
    ("library", "user"),
    [
        ("orbax", "training/checkpoints.py"),
        ("wandb", "training/tracking.py"),
        ("jax.sharding", "training/parallel.py"),
        ("optax", "training/optimizer.py"),
        ("pymilvus", "recognition/store.py"),
        ("milvus_lite", "recognition/store.py"),
