"""The tree keeps its shape: imports go one way, big libraries have one user each, and start-up stays fast."""

import ast
import functools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A room imports only rooms of earlier rows.
ROWS = (
    ("errors",),
    ("files", "config", "progress", "arguments", "aside", "by_device", "conjugate_gradients"),
    ("assets",),
    ("preprocessing",),
    ("datasets",),
    ("degradations",),
    ("deblurring",),
    ("models",),
    ("metrics",),
    ("objectives",),
    ("training",),
    ("evaluation",),
    ("sweeps",),
    ("scaling",),
    ("restoration",),
    ("recognition",),
    ("serving",),
    ("cli",),
    ("__main__",),
)
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}
FILES = sorted((ROOT / "faceflax").rglob("*.py"))


@functools.cache
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


@functools.cache
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


def test_the_readme_lists_every_room_in_the_order_of_the_imports():
    listed = re.findall(r"^faceflax/(\w+) ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert listed == [room for room in ROW_OF if (ROOT / "faceflax" / room).is_dir()]


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
        ("jax.sharding", "training/parallel/"),
        ("optax", "training/optimizer.py"),
        ("safetensors", "models/weights.py"),
        ("pymilvus", "recognition/store.py"),
        ("milvus_lite", "recognition/store.py"),
        ("matplotlib", "evaluation/benchmark/plots.py"),
        ("optuna", "sweeps/store.py"),
        ("gradio", "serving/page.py"),
        ("jax2onnx", "restoration/exporting.py"),
        ("imageio_ffmpeg", "preprocessing/footage.py"),
        ("bm3d", "evaluation/comparison/classical.py"),
        ("ncnn", "evaluation/comparison/networks.py"),
    ],
)
def test_a_library_has_one_user(library, user):
    users = {
        str(path.relative_to(ROOT / "faceflax"))
        for path in FILES
        if any(name == library or name.startswith(f"{library}.") for name in _used(path))
    }
    assert any(name.startswith(user) for name in users)
    if library == "optax":  # arms apply the updates that the optimiser module makes
        users = {name for name in users if not name.startswith("training/")} | {user}
    assert all(name.startswith(user) for name in users), users


def test_only_parallel_compiles():
    compilers = {"jit", "pmap", "make_mesh", "shard_map", "set_mesh"}
    offenders = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        if path.parent != ROOT / "faceflax" / "training" / "parallel"
        for name in _used(path)
        if name.startswith("jax.") and compilers & set(name.split("."))
    }
    assert not offenders


@pytest.mark.parametrize(
    "code",
    [
        "import jax\njax.jit(f)",
        "import jax as j\nj.jit(f)",
        "from jax import jit",
        "from jax import jit as compile",
        "from jax import pmap",
        "from jax.experimental.shard_map import shard_map",
        "import jax\ndef f(x):\n    return jax.sharding.SingleDeviceSharding(x)",
        "from jax import sharding as s\ns.Mesh(x)",
        "from jax.sharding import Mesh",
        "import jax.sharding",
    ],
)
def test_every_way_to_name_a_library_is_seen(tmp_path, code):
    (tmp_path / "code.py").write_text(code)
    used = _used(tmp_path / "code.py")
    assert any({"jit", "pmap", "shard_map", "sharding"} & set(n.split(".")) and n.startswith("jax.") for n in used), (
        used
    )


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


@pytest.mark.parametrize("module", ["faceflax", "faceflax.cli"])
def test_the_command_runs_as_a_module(module):
    done = subprocess.run([sys.executable, "-m", module, "restore"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "`faceflax restore --help`" in done.stderr
