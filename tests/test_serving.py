"""The functions behind the page: limits, damage, and one photograph through one restorer."""

import asyncio
import errno
import json
import os
import socket
import time

import cv2
import numpy as np
import PIL.Image
import pytest

from faceflax import cli
from faceflax.degradations.batch import degrade
from faceflax.degradations.tasks import TASKS, Task
from faceflax.errors import UserError
from faceflax.models import shipped
from faceflax.preprocessing import console
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import seam
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Located
from faceflax.serving import damage, limits, restoring, sent
from faceflax.serving.gate import Gate
from faceflax.serving.limits import Limits, RateLimit
from tests import faces, untrained

SIZE = 32


def test_a_client_waits_its_turn_and_no_other():
    now = [100.0]
    limit = RateLimit(3, lambda: now[0])
    for _ in range(3):
        assert limit.wait("a") == 0
        now[0] += 10
    assert limit.wait("a") == pytest.approx(30) and limit.wait("b") == 0
    now[0] += 30
    assert limit.wait("a") == 0 and limit.wait("a") == pytest.approx(10)


def test_amounts_add_up():
    now = [0.0]
    limit = RateLimit(10, lambda: now[0])
    assert limit.wait("a", 6) == 0
    now[0] = 20
    assert limit.wait("a", 4) == 0 and limit.wait("a", 5) == pytest.approx(40) and limit.wait("a", 7) == 60
    now[0] = 61
    assert limit.wait("a", 5) == 0


def test_clients_are_forgotten(monkeypatch):
    monkeypatch.setattr(limits, "_MOST_CLIENTS", 2)
    limit = RateLimit(1, lambda: 0.0)
    assert [limit.wait(client) for client in "abca"] == [0, 0, 0, 0]
    assert limit.wait("c") > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"no picture", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2, "50000x50000 pixels"),
        (bytes(1_200_000), "1.2 MB, more than the 1 MB"),
        (None, "upload it again"),
    ],
)
def test_bad_uploads_get_one_sentence(tmp_path, content, said):
    path = tmp_path / "upload.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        limits.check_file(path, Limits(megabytes=1))
    assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)
    assert "upload" in str(caught.value)  # what to do


@pytest.mark.parametrize(
    ("kind", "options"), [("AVIF", {}), ("JPEG", {"icc_profile": bytes(400_000)}), ("JPEG", {}), ("HEIF", {})]
)
def test_what_can_be_read_is_let_in_and_its_pixels_are_counted(tmp_path, monkeypatch, kind, options):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs faceflax[heic]").register_heif_opener()
    path = tmp_path / "upload"
    PIL.Image.fromarray(faces.load(1, 128)[0]).save(path, kind, **options)
    limits.check_file(path, Limits())
    with pytest.raises(UserError, match="128x128 pixels, more than the 0.01 million"):
        limits.check_file(path, Limits(megapixels=0.01))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 5000)  # as the page has it
    with pytest.raises(UserError, match="pixels"):
        limits.check_file(path, Limits(megapixels=0.01))


def test_what_is_old_is_swept_and_what_is_new_stays(tmp_path):
    for name in ("deep/er", "empty", "fresh"):
        (tmp_path / name).mkdir(parents=True)
    old, new = tmp_path / "deep" / "er" / "old", tmp_path / "new"
    for path in (old, new):
        path.write_text("")

    def age(*names):
        for name in names:
            os.utime(tmp_path / name, (time.time() - 100,) * 2)

    age("deep/er/old", "deep/er", "deep", "empty")
    assert limits.sweep(tmp_path, 50) == 1 and new.exists() and not old.exists()
    assert not (tmp_path / "empty").exists() and (tmp_path / "fresh").exists()
    age("deep/er", "deep")
    assert limits.sweep(tmp_path, 50) == 0  # that of a request, emptied and old
    age("deep")
    limits.sweep(tmp_path, 50)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "new"]


def ask(gate, path, headers):
    """The status of the gate's answer to a POST."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), *headers]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("10.0.0.1", 1)}
    parts = [{"type": "http.request", "body": bytes(9), "more_body": more} for more in (True, True, False)]

    async def receive():
        return parts.pop(0)

    asyncio.run(gate(scope, receive, send))
    assert not parts or sent[0]["status"] == 200  # what is refused was sent to its end, so that the answer is heard
    assert any(name == b"content-security-policy" for name, _ in sent[0]["headers"])
    if sent[0]["status"] >= 400:
        assert json.loads(sent[1]["body"])["detail"].endswith(".")
    return sent[0]["status"]


def test_the_gate_refuses_what_is_too_large_too_often_or_of_unknown_size():
    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gate = Gate(page, Limits(megabytes=1))
    assert ask(gate, "/upload", [(b"content-length", b"1000000")]) == 200
    assert ask(gate, "/upload", [(b"content-length", b"9000000")]) == 413
    assert ask(gate, "/upload", [(b"transfer-encoding", b"chunked")]) == 411
    statuses = [ask(gate, "/upload", [(b"content-length", b"1800000")]) for _ in range(6)]
    assert statuses == [200] * 5 + [429]  # 10 MB in a minute
    assert ask(gate, "/elsewhere", [(b"content-length", b"9")]) == 200


def test_the_gate_does_not_listen_for_ever_to_what_it_refuses():
    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": bytes(1_000_000), "more_body": True}

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": "/upload", "headers": [(b"host", b"localhost")], "client": None}
    asyncio.run(asyncio.wait_for(Gate(None, Limits(megabytes=1))(scope, receive, send), 60))
    assert 2 < len(taken) < 6


def test_damage_is_that_of_the_tasks():
    (face,) = faces.load(1, 128)
    wide = np.hstack([face, face])
    same, _ = damage.damage(Photograph(wide, None), damage.parse("jpeg", "10"), 64, seed=3)
    assert same.shape == (32, 64, 3) and same.dtype == np.uint8
    square, _ = damage.damage(Photograph(face, None), damage.parse("jpeg", "10"), 64, seed=3)
    small = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)[None] / np.float32(255)
    import jax

    expected, _ = degrade(jax.random.key(0), small, np.zeros(1, int), ((Task("jpeg", 10),),))
    np.testing.assert_allclose(square, np.asarray(expected[0]) * 255, atol=1)


def test_what_damage_hides_is_missing_and_a_seed_repeats_it():
    (face,) = faces.load(1, 64)
    photograph, task = Photograph(face, None), damage.parse("occlude", "25")
    first, missing = damage.damage(photograph, task, 64, seed=1)
    again, _ = damage.damage(photograph, task, 64, seed=1)
    other, _ = damage.damage(photograph, task, 64, seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert missing.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(first[~missing], face[~missing])
    assert np.ptp(first[missing]) == 0


@pytest.mark.parametrize(("name", "severity"), [("noise", "99"), ("burn", "1")])
def test_a_task_that_is_not_there(name, severity):
    with pytest.raises(UserError):
        damage.parse(name, severity)
    assert [str(damage.parse(task, f"{value:g}")) for task in TASKS for value in TASKS[task]]


def test_what_is_painted_is_missing_at_the_pictures_own_size():
    layer = np.zeros((4, 4, 4), np.uint8)
    assert restoring.holes([layer], (8, 8)) is None and restoring.holes([], (8, 8)) is None
    layer[1, 2, 3] = 7
    missing = restoring.holes([layer, np.zeros((8, 8, 4), np.uint8)], (8, 8))
    assert missing.sum() == 4 and missing[2:4, 4:6].all()


def inverting():
    return Restorer(SIZE, lambda image, mask: 1 - image, {})


def test_a_face_is_restored_whole_or_in_its_holes(tmp_path, monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    (face,) = faces.load(1, SIZE)
    source = tmp_path / "face.png"
    write(source, Photograph(face, None))
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "restored.png"
    after, told = restoring.restore(source, output, None, inverting(), None)
    np.testing.assert_array_equal(after.pixels, 255 - face)
    assert not told
    missing = np.zeros((SIZE, SIZE), bool)
    missing[4:9, 5:20] = True
    after, _ = restoring.restore(source, output, missing, inverting(), None)
    np.testing.assert_array_equal(after.pixels[~missing], face[~missing])
    assert (after.pixels[missing] == 128).all() and (read(output).pixels == after.pixels).all()


def test_what_the_system_refused_is_said_without_its_path(tmp_path):
    with pytest.raises(UserError) as told, console.told_of(str(tmp_path / "a.png")):
        raise OSError(errno.EIO, "broken", str(tmp_path / "out" / "a.png"))
    assert str(tmp_path) in str(told.value)
    said = restoring.sentence(str(told.value), tmp_path / "a.png")
    assert said == "Cannot be worked on: broken; try again or leave it out."


def test_a_photograph_is_restored_where_its_face_is(tmp_path):
    source, corner, side = tmp_path / "photo.png", np.array([40, 30]), 40
    write(source, Photograph(faces.background(110, 120), None))
    face = Face(np.array([40.0, 30, 80, 70]), corner + side * TEMPLATE, 0.9)
    checks = Restorer(SIZE, lambda image, mask: image + 0.2 * (np.indices(image.shape[1:3]).sum(0) % 2)[..., None], {})
    after, _ = restoring.restore(source, tmp_path / "out.png", None, checks, lambda pixels: [Located(face, None)])
    changed = np.argwhere((after.pixels != read(source).pixels).any(axis=-1))
    assert len(changed) > 100 and changed.min(0)[0] > 20 and changed.max(0)[1] < 95
    with pytest.raises(UserError, match="^No face found; tick .one face that fills the picture.") as caught:
        restoring.restore(source, tmp_path / "out.png", None, checks, lambda pixels: [])
    assert str(tmp_path) not in str(caught.value) and "--" not in str(caught.value)


def test_models_have_names_and_the_page_learns_of_no_path(tmp_path):
    first = untrained.make_workdir(tmp_path / "one", SIZE)
    second = untrained.make_workdir(tmp_path / "two", SIZE, arm="gan")
    models = restoring.Models([str(first), str(second)])
    assert models.names == ("one", "two", *shipped.names()) and "two" not in models.blendable
    assert models.load("one", 0.5).size == SIZE and models.load("one", 0.5) is models.load("one", 0)
    with pytest.raises(UserError, match="There is no model"):
        models.load(str(first), 0)
    twin = untrained.make_workdir(tmp_path / "deep" / "one", SIZE)
    with pytest.raises(UserError, match='two models are called "one"'):
        restoring.Models([str(first), str(twin)])


def test_the_page_starts_without_reading_what_comes_with_faceflax(monkeypatch):
    monkeypatch.setattr(restoring.restorers, "load", lambda model, fidelity, size: pytest.fail(f"read {model}"))
    models = restoring.Models([])
    assert models.names == shipped.names() and models.blendable == ("gan",)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--port", "0", "--aligned", *arguments])
    return ended.value.code, capsys.readouterr().err


def test_without_a_model_the_command_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    status, said = run(capsys)
    assert status == 1 and said.count("\n") == 1 and said.startswith("error: no model comes with this version")


def test_bad_arguments_get_one_sentence(capsys, tmp_path):
    assert run(capsys, "--model", str(tmp_path / "gone"))[0] == 1
    for limit in (("--queue", "0"), ("--max-megabytes", "nan")):
        assert "0 or less" in run(capsys, *limit)[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, said = run(capsys, "--port", str(taken.getsockname()[1]))
    assert status == 1 and "choose another --host or --port" in said and said.count("\n") == 1
    status, said = run(capsys, "--port", "99999")
    assert status == 1 and "99999 is no port" in said and said.count("\n") == 1


def test_a_request_names_few_files_and_none_by_a_url():
    gr = pytest.importorskip("gradio", reason="needs faceflax[serve]")
    from faceflax.serving import page

    with page._Blocks() as blocks:
        pass

    def refusal(request):
        with pytest.raises(gr.Error) as caught:
            asyncio.run(blocks.preprocess_data(None, request))
        return str(caught.value)

    named = {"path": "/tmp/a.png", "url": "http://127.0.0.1/a.png"}
    honest = [None, {"background": named, "layers": [named], "composite": named, "id": None}, "cnn", 0, True]
    assert sent.count_files(honest) == 3 <= sent.MOST_FILES
    assert "6 pictures at most" in refusal([None, {"background": named, "layers": [named] * 1000, "composite": None}])
    assert "was not uploaded here" in refusal([{"path": "http://10.0.0.1/a.png"}])
