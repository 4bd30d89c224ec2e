"""Exported restorers: their results are the model's, they say what they are, and ONNX runs without jax."""

import contextlib
import functools
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

from faceflax import cli, models
from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.restoration import exported, exporting, holes, networks, restorers
from tests import commands, faces, untrained

ROOT = Path(__file__).parent.parent
SIZE = 16
KINDS = tuple(exporting.FORMATS)
DESCRIPTION = {"size": SIZE, "model": "test", "manifest": {"commit": "c0ffee"}}


def network(block):
    """A network with parameters that are far from those it starts with: every layer counts."""
    config = config_lib.default().model
    if block == "experts":
        config.experts, config.deblur = ("blind", "occlude", "blur", "motion"), ("", "", "blur", "motion")
    elif block == "deblurring":
        config.deblur = ("blur",)
    elif block == "face":
        config.fill = "face"
    else:
        config.block = block
    config.width, config.encoder_blocks, config.decoder_blocks, config.middle_blocks = 4, (1,), (1,), 0
    model = models.create(config)
    leaves, tree = jax.tree.flatten(model.init(jax.random.key(0), SIZE))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    params = jax.tree.unflatten(tree, noisy)
    if block == "experts":
        params["router"]["logits"]["bias"] = 1e3 * jax.nn.one_hot(2, 4)  # what has no hole is blurred
    return lambda image, mask: model.apply(params, image, mask)


def inputs(count):
    rng = np.random.default_rng(count)
    mask = np.zeros((count, SIZE, SIZE, 1), np.float32)
    mask[count // 2 :, 3:9, 2:7] = 1
    return rng.random((count, SIZE, SIZE, 3), np.float32), mask


_FAST = [(kind, block) for kind in KINDS for block in ("residual", "experts")]
_SLOW = [
    pytest.param(each, marks=pytest.mark.slow)
    for each in (
        ("onnx", "nafnet"),
        ("stablehlo", "nafnet"),
        ("stablehlo", "deblurring"),
        ("onnx", "face"),
        ("stablehlo", "face"),
    )
]


@pytest.fixture(scope="module", params=[*_FAST, *_SLOW], ids=str)
def file(request, tmp_path_factory):
    """The network's function, and the path of the file that it was exported to."""
    kind, block = request.param
    function = network(block)
    path = tmp_path_factory.mktemp("export") / f"model.{kind}"
    assert exporting.export(function, SIZE, DESCRIPTION, kind, path) < exporting.TOLERANCE
    return function, path


def test_any_batch_gives_the_models_results(file):
    function, path = file
    size, restore, description = restorers.load(str(path), None, 5)
    truth = networks.compile_function(function, 5)
    assert size == SIZE and description == DESCRIPTION
    for count in (1, 2, 5):
        image, mask = inputs(count)
        expected = truth(image, mask)
        assert np.abs(expected - image).max() > 0.05  # the network does something
        np.testing.assert_allclose(restore(image, mask), expected, atol=1e-4)


def test_the_program_of_the_docs_runs_and_nothing_warns(file, tmp_path):
    """As onnxruntime does of constants that nothing uses, which experts have."""
    if file[1].suffix != ".onnx":
        pytest.skip("it is for onnxruntime")
    (tmp_path / "face.onnx").symlink_to(file[1])
    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL
    )
    command = [sys.executable, "-c", f"{program}\nassert restored.shape == (2, {SIZE}, {SIZE}, 3)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_program_that_differs_is_not_kept(tmp_path, monkeypatch):
    load = exported.load

    def wrong(path, batch_size):
        size, restore, description = load(path, batch_size)
        return size, lambda image, mask: restore(image, mask) + 2e-4, description

    monkeypatch.setattr(exported, "load", wrong)
    with pytest.raises(UserError, match="results differ by 2.0e-04"):
        exporting.export(network("residual"), SIZE, DESCRIPTION, "stablehlo", tmp_path / "model.zip")
    assert not list(tmp_path.iterdir())


export = functools.partial(commands.run, "export")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return untrained.make_workdir(tmp_path_factory.mktemp("runs") / "tiny", SIZE)


@pytest.fixture(scope="module")
def files(tmp_path_factory, workdir):
    """What the command wrote, by format."""
    folder = tmp_path_factory.mktemp("files")
    for kind in KINDS:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert export("--model", workdir, "--format", kind, "--out", folder / kind) == 0
        doing = [line.split()[0] for line in said.getvalue().splitlines()]
        assert doing == ["reading", "writing", "comparing", "exported"]
    return {kind: folder / kind for kind in KINDS}


def test_a_file_says_what_it_holds(files, workdir):
    properties = {entry.key: entry.value for entry in onnx.load(files["onnx"]).metadata_props}
    with zipfile.ZipFile(files["stablehlo"]) as archive:
        texts = [properties["faceflax"], archive.read("description.json")]
    for text in texts:
        description = json.loads(text)
        assert description["model"] == "tiny" and description["size"] == SIZE and description["arm"] == "cnn"
        assert description["manifest"]["commit"] == "c0ffee" and description["step"] == 1
        assert description == restorers.load(str(workdir), None, 1).description


def test_onnx_restores_files_without_jax(files, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    write(tmp_path / "in.png", Photograph(pixels, None))
    restore_without_jax(files["onnx"], tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "out" / "in.png").pixels, pixels)  # untrained, it returns its input


def restore_without_jax(model, folder):
    """Restores in.png of a folder into its folder out, in a process that has onnxruntime and no jax."""
    code = (
        "import sys; sys.modules['jax'] = None\n"  # importing it raises
        "from faceflax.cli import main; main(sys.argv[1:])"
    )
    command = ["restore", "in.png", "--aligned", "--out", "out", "--model", str(model)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *command], check=True, cwd=folder, env=environment)


def test_stablehlo_restores_files(files, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    write(tmp_path / "in.png", Photograph(pixels, None))
    with pytest.raises(SystemExit) as caught:
        cli.main(
            ["restore", str(tmp_path / "in.png"), "--aligned", "--out", str(tmp_path / "out")]
            + ["--model", str(files["stablehlo"])]
        )
    assert caught.value.code == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "in.png").pixels, pixels)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_that_comes_with_faceflax_is_exported(kind, tmp_path):
    """Any batch agrees to 1e-4 with the model; onnx restores a photograph's face without jax."""
    path = tmp_path / f"cnn.{kind}"
    assert export("--format", kind, "--out", path) == 0
    size, restore, description = restorers.load(str(path), None, 3)
    own = restorers.load("cnn", None, 3)
    assert size == own.size and description == own.description and description["manifest"]["commit"]
    clean = np.stack(faces.load(3, size)).astype(np.float32) / 255
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    mask = np.zeros((3, size, size, 1), np.float32)
    mask[1, 40:70, 50:90] = 1
    for count in (1, 3):
        expected = own.restore(noisy[:count], mask[:count])
        assert np.abs(expected - noisy[:count]).max() > 0.05
        np.testing.assert_allclose(restore(noisy[:count], mask[:count]), expected, atol=1e-4)
    if kind == "onnx":
        pixels = np.round(255 * noisy[0]).astype(np.uint8)
        write(tmp_path / "in.png", Photograph(pixels, None))
        restore_without_jax(path, tmp_path)
        expected = own.restore(pixels[None].astype(np.float32) / 255, mask[:1])[0]
        difference = read(tmp_path / "out" / "in.png").pixels - 255.0 * np.clip(expected, 0, 1)
        assert np.abs(difference).max() < 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "no description"])
def test_a_damaged_file_is_one_sentence(kind, damage, files, tmp_path):
    path, whole = tmp_path / "model", files[kind].read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello", "no description": whole}[damage])
    if damage == "no description":
        strip(kind, path)
    with pytest.raises(UserError, match=str(path)):
        restorers.load(str(path), None, 1)


def strip(kind, path):
    if kind == "onnx":
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
        return
    with zipfile.ZipFile(path) as archive:
        program = archive.read(exported.PROGRAM)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(exported.PROGRAM, program)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--format": "torch"}, '--format "torch" does not exist'),
        ({"--model": "nowhere", "--out": "new/file"}, 'no model "nowhere": it is not a workdir or file, nor one'),
        ({"--model": __file__}, "is not a workdir of a trained model"),
        ({"--model": str(Path(__file__).parent)}, "is not a workdir of a trained model"),
        ({"--out": "."}, "is a folder"),
        ({"--out": "/proc/model.zip", "--model": "nowhere"}, "cannot write into the folder /proc"),  # before it is read
        ({"--fidelity": "0.5"}, "no such GAN"),
    ],
)
def test_what_cannot_be_exported(change, sentence, workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"--model": str(workdir), "--format": "stablehlo", "--out": "file"} | change
    assert export(*(part for pair in options.items() for part in pair)) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_onnx_deblurs_in_experts_alone(tmp_path, capsys):
    workdir = untrained.make_workdir(tmp_path / "deblurring", SIZE)
    config = json.loads((workdir / "config.json").read_text())
    config["model"]["deblur"] = ["motion"]
    (workdir / "config.json").write_text(json.dumps(config))
    assert export("--model", workdir, "--format", "onnx", "--out", tmp_path / "file") == 1
    assert "only experts can be written as onnx; choose --format stablehlo" in capsys.readouterr().err


def test_fidelity_is_settled_in_a_file(files):
    with pytest.raises(UserError, match="--fidelity cannot be chosen for .* leave it out"):
        restorers.load(str(files["onnx"]), 0.5, 1)


def test_holes_have_the_colour_of_training():
    from faceflax.degradations.occlusion import HOLE_COLOUR

    assert holes.COLOUR == HOLE_COLOUR
