"""Where a gallery lies: a folder that is its owner's alone, or a server, and what is neither."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import psutil
import pytest

from experiments import local_server
from faceflax.errors import UserError
from faceflax.recognition import store
from faceflax.recognition.gallery import Gallery
from tests.galleries import ENCODER, record, unit_vectors


def test_the_folder_is_its_owner_s_alone_from_the_first_moment(tmp_path, monkeypatch):
    made = []
    mkdir = os.mkdir

    def watched(path, mode=0o777, **options):
        mkdir(path, mode, **options)
        made.append((os.fspath(path), Path(path).stat().st_mode & 0o777))

    monkeypatch.setattr(os, "mkdir", watched)
    old = os.umask(0)
    try:
        with store.connect(str(tmp_path / "new" / "faces.db"), create=True):
            assert (str(tmp_path / "new" / "faces.db"), 0o700) in made
            assert (tmp_path / "new" / "faces.db").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(old)
    (tmp_path / "empty.db").mkdir(mode=0o755)
    with store.connect(str(tmp_path / "empty.db"), create=True):
        assert (tmp_path / "empty.db").stat().st_mode & 0o777 == 0o700


def test_a_gallery_that_others_can_look_into_is_closed_to_them_or_refused(tmp_path, monkeypatch):
    folder = tmp_path / "faces.db"
    with store.connect(str(folder), create=True) as opened:
        Gallery(opened).add(ENCODER, [record("Ann")], unit_vectors(1))
    folder.chmod(0o755)

    def refused(*arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="others can look into the gallery .*: Operat"):
        patch.setattr(Path, "chmod", refused)
        store.connect(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o755
    with store.connect(str(folder)) as opened:
        assert Gallery(opened).count() == 1 and folder.stat().st_mode & 0o777 == 0o700


def test_no_port_is_opened_for_an_embedded_gallery(tmp_path):
    listening = lambda: {c.laddr for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"}  # noqa: E731
    before = listening()
    with store.connect(str(tmp_path / "faces.db"), create=True):
        assert listening() == before


def test_a_gallery_in_use_is_one_sentence(tmp_path):
    uri = str(tmp_path / "faces.db")
    with store.connect(uri, create=True) as opened:
        Gallery(opened).add(ENCODER, [record("Ann")], unit_vectors(1))
        command = [sys.executable, "-c", f"from faceflax.recognition import store; store.connect({uri!r})"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("is in use by another process; try again when that has ended")
    with store.connect(uri):
        pass


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no gallery .*; faceflax enroll --gallery .* makes one"),
        (lambda path: path.write_text("a file"), "is no gallery"),
        (lambda path: (path / "photographs").mkdir(parents=True), "is no gallery"),
    ],
)
def test_what_is_no_gallery_is_left_alone(tmp_path, make, sentence):
    path = tmp_path / "faces.db"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        store.connect(str(path))
    if before:
        with pytest.raises(UserError, match=sentence):
            store.connect(str(path), create=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("address", ["http://[bad", "http://host:port", "http://host:0", "ftp://host", "http://"])
def test_what_is_no_address_is_one_sentence(address):
    with pytest.raises(UserError, match=r"is no address of a server; write http://host:port or a file's name"):
        store.connect(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://root:secret@127.0.0.1:9",
        "http://root:secret@[bad",
        "http://secret@127.0.0.1:9",
        "http://127.0.0.1:9?token=secret",
        "https://127.0.0.1:9/faces?token=secret",
        "http://127.0.0.1:9/faces#secret",
        "ftp://127.0.0.1?token=secret",
    ],
)
def test_an_address_that_holds_more_is_refused_and_not_repeated(address, capfd, monkeypatch):
    monkeypatch.setattr(store, "_client", lambda *arguments: pytest.fail("it went out"))
    with pytest.raises(
        UserError, match=r"^--gallery holds more than an address: .* \$FACEFLAX_GALLERY_TOKEN$"
    ) as caught:
        store.connect(address)
    assert "secret" not in str(caught.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "address", ["localhost:19530", "10.0.0.7:19530/faces", "root:secret@host", "secret@host:19530", "[::1]:19530"]
)
def test_an_address_without_its_beginning_is_no_folder(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="looks like a server's address without its beginning") as caught:
        store.connect(address, create=True)
    assert "secret" not in str(caught.value) and not list(tmp_path.iterdir())
    with store.connect("./a@b:1", create=True):
        pass


def test_another_user_s_gallery_is_one_sentence(tmp_path, monkeypatch):
    with store.connect(str(tmp_path / "faces.db"), create=True) as opened:
        Gallery(opened).add(ENCODER, [record("Ann")], unit_vectors(1))

    def refused(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    for what in ("stat", "open"):  # of the folder; of the file that locks it, in a gallery that is only to be read
        with monkeypatch.context() as patch:
            patch.setattr(os if what == "open" else Path, what, refused)
            with pytest.raises(
                UserError, match="cannot be opened: Permission denied; its folder and files must be yours"
            ):
                store.connect(str(tmp_path / "faces.db"))


def test_a_long_place_for_temporary_files_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with pytest.raises(UserError, match=r"the path in \$TMPDIR is too long for a socket"):
        store.connect(str(tmp_path / "faces.db"), create=True)


@pytest.mark.parametrize("lost", ["aliases.json", "schema.json", "manifest.json", "*.parquet"])
def test_a_damaged_gallery_is_not_an_empty_one(tmp_path, lost):
    folder = tmp_path / "faces.db"
    with store.connect(str(folder), create=True) as opened:
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        gallery.settle()
    found = list(folder.rglob(lost))
    assert found
    for path in found:
        path.unlink()
    with pytest.raises(UserError, match="damaged"), store.connect(str(folder)) as opened:
        list(Gallery(opened).records())


def test_a_server_that_is_down_is_asked_three_times(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(store, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setenv(store.TOKEN, "root:secret")
    with pytest.raises(UserError) as caught:
        store.connect("http://127.0.0.1:1")
    assert str(caught.value) == (
        "the gallery server http://127.0.0.1:1 did not answer in 3 attempts; start it, or correct --gallery"
    )
    assert waits[-2:] == [1, 2]


def test_a_server_that_goes_away_is_one_sentence(tmp_path, monkeypatch):
    with local_server.serve(tmp_path / "data") as uri:
        opened = store.connect(uri)
        gallery = Gallery(opened)
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(UserError) as caught:
        gallery.add(ENCODER, [record("Bob")], unit_vectors(1))
    assert str(caught.value) == (
        f"the gallery server {uri} did not answer in 3 attempts; start it, or correct --gallery"
    )


class Restarting:
    """A client whose server is away for so many calls of each method."""

    def __init__(self, fails, code=2):
        self.fails, self.code, self.asked = fails, code, []

    def __getattr__(self, method):
        def call(*arguments, **options):
            from pymilvus import MilvusException

            self.asked.append(method)
            if self.asked.count(method) <= self.fails and method not in ("close", "get_server_version"):
                raise MilvusException(self.code, "Fail connecting to server")
            return "2.6"

        return call


@pytest.mark.parametrize(
    ("method", "fails", "code", "asked", "sentence"),
    [
        ("upsert", 2, 2, 3, None),
        ("query", 2, grpc.StatusCode.UNAVAILABLE, 3, None),
        ("search", 3, 2, 3, "did not answer in 3 attempts"),
        ("create_alias", 1, 2, 1, "did not answer in 1 attempt;"),  # it may be done already
        ("upsert", 1, 1100, 1, "did not do as asked: Fail connecting"),  # a refusal
    ],
)
def test_a_server_that_restarts_is_asked_again(monkeypatch, method, fails, code, asked, sentence):
    waits, client = [], Restarting(fails, code)
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(store, "_client", lambda uri, token: client)
    opened = store.connect("http://127.0.0.1:9")
    if sentence is None:
        assert opened.call(method) == "2.6"
    else:
        with pytest.raises(UserError, match=sentence):
            opened.call(method)
    assert client.asked.count(method) == asked and waits == [2, 6][: asked - 1]


def test_the_token_goes_to_the_server_and_nowhere_else(monkeypatch, capfd):
    given = []
    monkeypatch.setenv(store.TOKEN, "root:secret")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def refuse(uri, token):
        from pymilvus import MilvusException

        given.append(token)
        raise MilvusException(message=f"no route for {token}")

    monkeypatch.setattr(store, "_client", refuse)
    with pytest.raises(UserError) as caught:
        store.connect("http://127.0.0.1:9")
    assert given == ["root:secret"] * 3
    assert "secret" not in str(caught.value) + "".join(capfd.readouterr())


def test_a_server_that_hangs_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_SECONDS", 1)
    with local_server.serve(tmp_path / "data") as uri:
        gallery = Gallery(store.connect(uri))
        gallery.add(ENCODER, [record("Ann")], unit_vectors(1))
        port = uri.rpartition(":")[2]  # servers of other tests may run
        server = next(each for each in psutil.Process().children() if port in each.cmdline())
        server.suspend()
        try:
            with pytest.raises(UserError, match=f"the gallery {uri} did not (answer in time|do as asked)"):
                gallery.search(unit_vectors(1), 1)
        finally:
            server.resume()
