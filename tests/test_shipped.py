"""Models that come with the package: put there from a workdir, found by name, and restored with."""

import functools
import json

import jax
import numpy as np
import pytest

from experiments.ship import ship
from faceflax import cli
from faceflax.errors import UserError
from faceflax.files import write_json, write_text
from faceflax.models import shipped
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.restoration import networks
from faceflax.training import checkpoints, monitors, workdir
from faceflax.training import trained as trained_lib
from tests import commands, random_networks, untrained

SIZE = 32
MADE = {"commit": "c0ffee", "command": "train", "versions": {}, "device": {}, "seed": 0}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty folder in the place of the package's weights."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    return tmp_path / "shipped"


def trained(folder, arm="cnn", init_from="", add=0.0, step=2, size=SIZE, network="encoder_decoder"):
    """The workdir of a network whose averaged parameters are `add` more than those of an untrained one."""
    untrained.make_workdir(folder, size, arm, network)
    config, params, _ = checkpoints.load_for_inference(folder)
    config.init_from, config.data.folder = init_from, "/home/somebody/faces"
    write_text(folder / "config.json", workdir.config_lib.to_json(config))
    if init_from:
        workdir.write_origin(folder, 2)
    write_json(folder / "manifest.json", MADE | {"dataset": {"name": "x", "fingerprint": "0" * 12}})
    saved = checkpoints.Checkpoints(folder, keep=1, best_metric=config.eval.best_metric)
    saved.save({"ema": jax.tree.map(lambda leaf: leaf + add, params)}, step, {"psnr": 20.0})
    saved.close()
    return folder


restore = functools.partial(commands.run, "restore")


def test_what_is_shipped_is_the_trained_network_rounded(tmp_path, package):
    folder = trained(tmp_path / "run", add=0.1)
    ship(folder, "cnn", "as you like")
    assert shipped.names() == ("cnn",)
    config, params, manifest = shipped.read("cnn")
    known = checkpoints.load_for_inference(folder)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7), params, known.params)
    assert config.model == known.config.model and config.data.folder == ""
    assert "somebody" not in shipped.path("cnn").read_bytes().decode(errors="replace")
    assert (manifest["step"], manifest["metrics"], manifest["licence"]) == (2, {"psnr": 20.0}, "as you like")
    assert manifest["before"] == [] and manifest["commit"] == "c0ffee"


def test_restoring_and_training_start_from_a_name(tmp_path, package, capsys):
    ship(trained(tmp_path / "run", add=0.05), "cnn", "")
    ship(trained(tmp_path / "next", init_from="cnn"), "second", "")
    assert [run["step"] for run in shipped.manifest("second")["before"]] == [2]
    third = trained(tmp_path / "third", init_from=str(tmp_path / "next"))
    workdir.write_origin(third, 1)
    ship(third, "third", "")
    assert [(run["kind"], run["step"]) for run in shipped.manifest("third")["before"]] == [("cnn", 2), ("cnn", 1)]
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    write(tmp_path / "a.png", Photograph(pixels, None))
    results = []
    for options in ((), ("--model", "cnn"), ("--model", tmp_path / "run")):
        assert restore(tmp_path / "a.png", "--aligned", "--out", tmp_path / "out", *options) == 0
        results.append(read(tmp_path / "out" / "a.png").pixels.astype(int))
    assert (results[0] == results[1]).all() and np.abs(results[0] - results[2]).max() <= 1
    assert (results[0] != pixels).any()
    with pytest.raises(UserError, match='no model "cnn2".*`faceflax models` lists'):
        networks.load_restorer("cnn2", None)
    with pytest.raises(UserError, match="is of step 2, not 7"):
        trained_lib.load_restorer("cnn", 7)
    with pytest.raises(SystemExit):
        cli.main(["models"])
    listed = capsys.readouterr().out
    assert "docs/models/cnn.md" in listed and "docs/models/second.md" in listed


@pytest.mark.slow
def test_a_prior_is_shipped_without_what_is_published(tmp_path, package, monkeypatch, capsys):
    random_networks.install(monkeypatch)
    folder = trained(tmp_path / "run", size=64, network="face_prior")
    ship(folder, "prior", "")
    assert set(shipped.read("prior")[1]) == {"steering"}
    assert shipped.manifest("prior")["licence"].endswith("is fetched when it is first needed")
    assert commands.run("models") == 0 and "prior (cnn)" in capsys.readouterr().out
    known, found = checkpoints.load_for_inference(folder), trained_lib.load_restorer("prior")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7), found.params, known.params)
    ship(trained(tmp_path / "tuned", size=64, network="face_prior", add=0.05), "prior", "")
    assert set(shipped.read("prior")[1]) == {"steering", "prior"}
    assert shipped.manifest("prior")["licence"].endswith("is among the weights")


def test_a_gan_is_shipped_after_its_cnn_and_interpolates_with_it(tmp_path, package):
    cnn = trained(tmp_path / "cnn", add=0.05)
    gan = trained(tmp_path / "gan", "gan", init_from=str(cnn), add=0.1)
    workdir.write_origin(gan, 2)
    with pytest.raises(UserError, match="ship that one first"):
        ship(gan, "gan", "")
    ship(trained(tmp_path / "other", add=0.2), "cnn", "")
    with pytest.raises(UserError, match="ship that one first"):
        ship(gan, "gan", "")
    ship(cnn, "cnn", "")
    lines = [{"step": step} | {f"train/{name}": 0.5 for name in monitors.NAMES} for step in (1, 2, 3)]
    write_text(gan / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    ship(gan, "gan", "")
    assert [row["step"] for row in shipped.manifest("gan")["monitors"]] == [1, 2]
    assert shipped.manifest("gan")["monitors"][0]["diversity"] == 0.5 and "monitors" not in shipped.manifest("cnn")
    ends = {1.0: shipped.read("cnn")[1], 0.0: shipped.read("gan")[1]}
    for fidelity, expected in ends.items():
        jax.tree.map(np.testing.assert_array_equal, networks.load_restorer("gan", fidelity).params, expected)
    assert shipped.manifest("gan")["fidelity"] == 0
    ship(gan, "gan", "", fidelity=0.25)
    assert shipped.manifest("gan")["fidelity"] == 0.25
    quarter = lambda moved, cnn, gan: np.testing.assert_allclose(moved, cnn / 4 + gan * 3 / 4, rtol=2e-3, atol=1e-5)  # noqa: E731
    jax.tree.map(quarter, shipped.read("gan")[1], ends[1.0], ends[0.0])
    with pytest.raises(UserError, match="holds no GAN: leave it out"):
        ship(cnn, "cnn", "", fidelity=0.25)


def test_the_shipped_cnn_may_be_trained_on_but_not_be_another(tmp_path, package):
    ship(trained(tmp_path / "cnn", add=0.05), "cnn", "")
    gan = trained(tmp_path / "gan", "gan", init_from="cnn", add=0.1)
    workdir.write_origin(gan, 2)
    ship(gan, "gan", "")
    ship(trained(tmp_path / "later", init_from="cnn", add=0.15), "cnn", "")
    between = networks.load_restorer("gan", 0.5).params
    ends = shipped.read("cnn")[1], shipped.read("gan")[1]
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a, (b + c) / 2, rtol=1e-6), between, *ends)
    ship(trained(tmp_path / "other", add=0.2, step=3), "cnn", "")
    with pytest.raises(UserError, match="is of step 3, not 2"):
        networks.load_restorer("gan", 0.5)
    with pytest.raises(UserError, match='the shipped model "cnn" does not come from that which'):
        ship(gan, "gan", "")


def test_a_gan_that_ships_leads_to_the_cnn_that_ships():
    for name in shipped.names():
        config = shipped.read(name)[0]
        if config.arm == "gan":
            networks.load_restorer(name, 0.5)
