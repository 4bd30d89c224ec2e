"""What all tests share: a cache of their own, and devices that are only the CPU's."""

import os
import tempfile

import pytest

# Before jax is imported by any test. The cache is shared by pytest's workers and the processes that tests start, and
# ends with the session.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="faceflax-tests-")
    os.environ["FACEFLAX_CACHE"] = _CACHE.name
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{_CACHE.name}/compiled"
# Tests compile much and compute little; with this XLA compiles in about half the time.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("JAX_PLATFORMS", "cpu")


# For the tests of galleries and of the commands on faces. Imported where used: other tests need none of it.


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a database server."""
    from experiments import local_server

    with local_server.serve(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture(params=["embedded", "server"])
def uri(request, tmp_path):
    """Where a gallery can be made: a folder, and an empty database server."""
    from tests import galleries

    if request.param == "embedded":
        return str(tmp_path / "faces.db")
    uri = request.getfixturevalue("server")
    galleries.empty(uri)
    return uri


@pytest.fixture
def invented(monkeypatch):
    """The commands find the encoders of `crowd` under their names, and a threshold for the first."""
    from faceflax.models import face_encoder
    from faceflax.recognition import calibration
    from tests import crowd

    monkeypatch.setattr(face_encoder, "create", crowd.create)
    monkeypatch.setattr(calibration, "DEFAULTS", (crowd.KNOWN,))


@pytest.fixture
def people(tmp_path):
    """A folder with a folder of three crops for each of three people."""
    from tests import crowd

    return crowd.photograph(tmp_path / "people")


@pytest.fixture
def gallery(tmp_path, invented, people, capsys):
    """A gallery of `people`."""
    from tests import commands

    gallery = tmp_path / "faces.db"
    assert commands.run("enroll", people, "--aligned", "--gallery", gallery, "--consent", "letters of May") == 0
    said = capsys.readouterr()
    assert said.out.endswith(f"\nenrolled 9 of 9 photographs, 3 people, in {gallery}\n") and said.err == ""
    return gallery
