"""The chain in an Apache Beam pipeline, and the builder that stands on it, on Beam's DirectRunner."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceflax.preprocessing import chain
from faceflax.preprocessing.chain import Settings
from tests import faces

pytest.importorskip("apache_beam", reason="needs faceflax[beam]")
SETTINGS = Settings(size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "sub").mkdir()
    for number, face in enumerate(faces.load(3)):
        cv2.imwrite(os.fspath(folder / ("sub" if number else ".") / f"{number}.png"), face[..., ::-1])
    (folder / "text.jpg").write_text("hello")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_text("hello")
    cv2.imwrite(os.fspath(folder / "nobody.png"), faces.background(80, 80))
    return folder


@pytest.mark.parametrize("error", [ValueError("odd"), cv2.error("odd"), MemoryError()])
def test_a_file_that_nobody_foresaw_is_one_failure(folder, monkeypatch, error):
    from faceflax.preprocessing import beam

    def fail(pixels):
        raise error

    monkeypatch.setattr(beam, "load_chain", lambda settings: fail)
    step = beam._NormaliseFile(str(folder), SETTINGS)
    step.setup()
    (failure,) = step.process(b"0.png")
    assert failure.tag == beam.FAILURES and failure.value[0] == "0.png" and failure.value[1].startswith("0.png: ")


def test_what_another_chain_prepared_is_not_taken_for_ours(folder, monkeypatch):
    from faceflax.datasets.normalized_faces.normalized_faces import NormalizedFacesConfig

    names = [NormalizedFacesConfig(folder=folder, settings=SETTINGS).name for _ in range(2)]
    monkeypatch.setattr(chain, "REVISION", chain.REVISION + 1)
    names.append(NormalizedFacesConfig(folder=folder, settings=SETTINGS).name)
    names.append(NormalizedFacesConfig(folder=folder, settings=Settings(size=65)).name)
    assert names[0] == names[1] and len(set(names)) == 3


@pytest.mark.slow
def test_the_builder_makes_what_the_chain_makes(folder, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    from faceflax.datasets.normalized_faces.normalized_faces import NormalizedFaces, NormalizedFacesConfig

    normalise = faces.published(lambda: chain.load_chain(SETTINGS))
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))
    config = NormalizedFacesConfig(folder=folder, settings=SETTINGS)
    builder = NormalizedFaces(data_dir=tmp_path, config=config)
    options = PipelineOptions(["--direct_num_workers=1"])
    download = tfds.download.DownloadConfig(beam_runner="DirectRunner", beam_options=options)
    builder.download_and_prepare(file_format="array_record", download_config=download)
    source = builder.as_data_source("train")
    found = {source[number]["name"].decode(): source[number] for number in range(len(source))}
    assert sorted(found) == ["0.png", "sub/1.png", "sub/2.png"]
    for number, face in enumerate(faces.load(3)):
        example = found[f"sub/{number}.png" if number else "0.png"]
        (expected,) = normalise(face)
        np.testing.assert_array_equal(example["image"], expected.pixels)
        assert json.loads(example["record"]) == json.loads(json.dumps(expected.record))
    lines = [line for path in Path(builder.data_dir).glob("failures*.txt") for line in path.read_text().splitlines()]
    assert len(lines) == 3
    assert any("nobody.png: no face found" in line for line in lines)
    assert any("text.jpg: not a JPEG" in line for line in lines)
