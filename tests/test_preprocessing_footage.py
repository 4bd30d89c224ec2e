"""Videos, cameras and streams as `faceflax normalize` reads them."""

import contextlib
import functools
import http.server
import json
import threading

import numpy as np
import pytest

from faceflax.preprocessing import acquire, command, results
from faceflax.preprocessing.images import Photograph, write
from tests import normalizing
from tests.normalizing import FACES, names, normalize, video


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    normalizing.use_networks(monkeypatch)


def test_a_video_gives_every_nth_frame(tmp_path, capfd):
    video(tmp_path / "clip.avi")
    options = ("--out", tmp_path / "out", "--size", "64", "--every", "2")
    assert normalize(tmp_path / "clip.avi", *options) == 0
    assert names(tmp_path / "out") == ["clip.json", "clip/000000.png", "clip/000002.png", "clip/000004.png"]
    record = json.loads((tmp_path / "out" / "clip.json").read_text())
    places = [np.mean(face["points"], axis=0)[0] for face in record["faces"]]
    np.testing.assert_allclose(np.diff(places), 6, atol=1.5)
    assert normalize(tmp_path / "clip.avi", *options) == 0
    assert "(1 done already)" in capfd.readouterr().out


def test_a_camera_that_is_not_there_is_one_sentence(tmp_path, capfd):
    assert normalize("97", "rtsp://me:secret@127.0.0.1:9/live?key=1", "--out", tmp_path / "out") == 1
    error = capfd.readouterr().err
    assert error.count("no such camera or stream") == 2 and error.count("\n") == 2
    assert "secret" not in error and "key" not in error


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder, monkeypatch):
    """The URL of a server of the files in `folder`."""
    monkeypatch.delenv("http_proxy", raising=False)  # which FFmpeg would ask
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_stream_is_read_from_its_url(tmp_path, monkeypatch):
    video(tmp_path / "clip.avi")
    with serving(tmp_path, monkeypatch) as home:
        received = list(acquire.frames(f"{home}/clip.avi?key=s", every=2))
        first = list(acquire.frames(f"{home}/clip.avi", limit=2))
        assert normalize(f"{home}/clip.avi", "--out", tmp_path / "out", "--size", "64", "--frames", "2") == 0
    assert [number for number, _ in received] == [0, 2, 4] and [number for number, _ in first] == [0, 1]
    for (_, frame), (_, own) in zip(received, acquire.frames(str(tmp_path / "clip.avi"), every=2), strict=True):
        assert frame.shape == (160, 160, 3) and frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, own)
    record, *made = sorted(names(tmp_path / "out"), key=lambda name: not name.endswith(".json"))
    assert [name.rpartition("/")[2] for name in made] == ["000000.png", "000001.png"]
    assert len(json.loads((tmp_path / "out" / record).read_text())["faces"]) == 2


def test_no_capture_removes_an_earlier_one(tmp_path, monkeypatch):
    """Not even one of the same second, of another source, or of the same with fewer frames."""
    monkeypatch.setattr(command.time, "strftime", lambda form: "20260102-030405")
    frames = {"http://a/1?key=s": 3, "http://b/1": 2}
    monkeypatch.setattr(
        acquire, "frames", lambda source, every, limit: enumerate([FACES[0]] * min(limit, frames[source]))
    )
    made = []
    for sources, limit in ((["http://a/1?key=s"], 9), (["http://b/1"], 9), (["http://a/1?key=s", "http://b/1"], 1)):
        assert normalize(*sources, "--out", tmp_path, "--size", "64", "--frames", limit) == 0
        now = names(tmp_path)
        assert set(made) < set(now) and not any("key" in name for name in now)
        made = now
    assert len([name for name in made if name.endswith(".png")]) == 3 + 2 + 1 + 1
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(len(record["faces"]) for record in records) == [1, 1, 2, 3]


def test_faces_of_a_live_source_are_never_removed(tmp_path):
    output, face = tmp_path / "stream.png", tmp_path / "stream" / "000000.png"
    write(face, Photograph(FACES[0], None))
    record = {"faces": [{"file": "stream/000000.png"}], "refused": []}
    output.with_suffix(".json").write_text(json.dumps(record))
    results.finish(output, {"faces": [], "refused": []}, is_live=True)
    assert face.exists()
    output.with_suffix(".json").write_text(json.dumps(record))
    results.finish(output, {"faces": [], "refused": []}, is_live=False)
    assert not face.exists()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("rtsp://u:p@host/1", "rtsp://host/1"),
        ("rtsp://u:p@ss@host/1", "rtsp://host/1"),
        ("rtsp://u:p/w@host/1", "rtsp://host/1"),
        ("HTTP://host/1?key=s#token", "HTTP://host/1"),
        ("http://host/1#token?s", "http://host/1"),
        ("rtsp://u:p?w@host/1", "rtsp://..."),  # and not rtsp://u:p
        ("http://host/1?key=a@b", "http://..."),
        ("srt://u:p@host", "srt://host"),  # of a kind that is not read
        ("rtsps:/u:p@host", "rtsps:/host"),  # a path, which has one slash
        ("a@b?c#d.png", "a@b?c#d.png"),
        ("in/a:/b@c.png", "in/a:/b@c.png"),
    ],
)
def test_no_secret_of_an_address_is_shown(source, shown):
    assert acquire.shown(source) == shown
