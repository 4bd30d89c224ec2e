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
    ("files", "config"),
    ("assets",),
    ("preprocessing",),
    ("datasets",),
    ("degradations",),
    ("models",),
    ("metrics",),
    ("objectives",),
    ("training",),
    ("evaluation",),
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
    ],
)
def test_a_library_has_one_user(library, user):
    users = {
        str(path.relative_to(ROOT / "faceflax"))
        for path in FILES
        if any(name.startswith(library) for name in _imported(path))
    }
    assert user in users
    if library == "optax":  # arms apply the updates that the optimiser module makes
        users = {name for name in users if not name.startswith("training/")} | {user}
    assert users == {user}


def test_only_parallel_compiles():
    offenders = [
        f"{path.name}:{node.lineno}"
        for path in FILES
        if path.name != "parallel.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("jit", "pmap", "make_mesh", "shard_map", "set_mesh")
    ]
    assert not offenders


@pytest.mark.parametrize(
    ("command", "limit"),
    [("import faceflax; print('usage')", 0.3), ("from faceflax.cli import main; main(['--help'])", 1.0)],
)
def test_start_up_is_fast(command, limit):
    def seconds():
        start = time.perf_counter()
        output = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, cwd=ROOT).stdout
        assert output.startswith(b"usage")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < limit
