"""What a visitor of the page is told of their photographs: one that is restored in part, and several in one visit."""

import io
import struct
import types

import cv2
import numpy as np
import pytest

from faceflax.restoration.restorers import Restorer
from faceflax.serving import sent
from faceflax.serving.limits import Limits
from tests import encoded, faces
from tests.known_faces import CORNERS, SIZE, always
from tests.visits import call, visiting

pytest.importorskip("gradio", reason="needs faceflax[serve]")


def paint(visitor, name):
    """Sends a painting as the browser does, ahead of the button that uses it."""
    components = {each["props"].get("elem_id"): each["id"] for each in visitor.get("/config").json()["components"]}
    fields = {"fn_name": "accept_blobs", "component_id": components["editor"], "session_hash": "stranger"}
    body = fields | {"type": "background", "index": "null", "id": name}
    assert visitor.post("/gradio_api/component_server", data=body, files={"file": b"stroke"}).status_code == 200


def upload(visitor, pixels):
    """The uploaded picture, as the page names it."""
    return upload_file(visitor, "a.png", cv2.imencode(".png", pixels)[1].tobytes())


def upload_file(visitor, name, data):
    (path,) = visitor.post("/gradio_api/upload", files={"files": (name, data)}).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_a_hole_that_stays_is_told_beside_the_picture(tmp_path):
    from faceflax.serving import page

    restorer = Restorer(SIZE, lambda image, mask: np.where(mask > 0, np.float32((1, 0, 0)), image), {})
    models = types.SimpleNamespace(names=("model",), blendable=(), load=lambda *_: restorer)
    photograph, layer = faces.background(110, 120), np.zeros((110, 120, 4), np.uint8)
    layer[20:30, 10:20] = layer[12:52, 60:100] = 255  # a part of the first face, and the second one
    with visiting(page.Site(models, always(*CORNERS[:2]), tmp_path, Limits())) as visitor:
        photo = upload(visitor, photograph)
        assert call(visitor, [photo], "_open")[-1]["success"]
        painted = {"background": photo, "layers": [upload(visitor, layer)], "composite": None, "id": None}
        said = call(visitor, [None, painted, "model", 0, False], "_on_restore")
        pair, download = said[-1]["output"]["data"]
        after = cv2.imdecode(np.frombuffer(visitor.get(download["value"]["url"]).content, np.uint8), cv2.IMREAD_COLOR)
    assert said[-1]["success"] and len(pair) == 2
    (warning,) = [message for message in said if message["msg"] == "log"]
    assert warning["level"] == "warning" and warning["log"].startswith("A hole in a face stays, as hardly anything")
    changed = (after != photograph).any(axis=2)
    assert changed[20:30, 10:20].mean() > 0.9 and not changed[22:42, 70:90].any()


def site(folder):
    """A page that finds no faces and restores nothing."""
    from faceflax.serving import page

    models = types.SimpleNamespace(names=("model",), blendable=(), load=lambda *_: types.SimpleNamespace(size=256))
    return page.Site(models, None, folder, Limits())


@pytest.fixture
def visitor(tmp_path):
    """A visitor who opened a photograph already."""
    with visiting(site(tmp_path)) as visitor:
        assert call(visitor, [upload_file(visitor, "first.png", encoded.FILES["png"])], "_open")[-1]["success"]
        yield visitor


BMP = encoded.FILES["bmp"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no picture", "The file cannot be used: not a JPEG, PNG, WebP, BMP,"),
        (BMP[:18] + struct.pack("<ii", 50_000, 50_000) + BMP[26:], "50000x50000"),
    ],
    ids=["text", "bomb"],
)
def test_a_later_photograph_is_refused_in_the_words_of_a_first_one(visitor, data, sentence):
    said = call(visitor, [upload_file(visitor, "later.jpg", data)], "_open")[-1]
    assert not said["success"] and sentence in said["output"]["error"]


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}], ids=["as a file", "as anything"])
def test_a_file_that_was_not_uploaded_is_not_opened(visitor, tmp_path_factory, meta):
    ours = encoded.save(tmp_path_factory.mktemp("elsewhere"), encoded.FILES["png"])
    said = call(visitor, [{"path": str(ours), **meta}], "_open")[-1]
    assert not said["success"] and "data" not in said["output"]


def encode(kind):
    if kind != "HEIC":
        return encoded.encode(encoded.COLOUR, kind)
    stream = io.BytesIO()  # without Pillow, which Gradio asks and which is to learn nothing of the kind here
    pytest.importorskip("pillow_heif", reason="needs faceflax[heic]").from_pillow(encoded.COLOUR).save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_a_later_photograph_is_opened_as_a_first_one(visitor, kind):
    said = call(visitor, [upload_file(visitor, f"later.{kind.lower()}", encode(kind))], "_open")[-1]
    assert said["success"]
    background = said["output"]["data"][3]["background"]
    seen = cv2.imdecode(np.frombuffer(visitor.get(background["url"]).content, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape[:2] == (20, 31)


def test_a_visit_does_not_lose_the_bound_of_what_is_painted(tmp_path, monkeypatch):
    """Also after the browser sent back a picture of ours, of which nothing is to change."""
    kept = sent.Newest()
    monkeypatch.setattr(sent, "Newest", lambda: kept)
    with visiting(site(tmp_path)) as visitor:
        opened = call(visitor, [upload_file(visitor, "a.tiff", encoded.FILES["tiff"])], "_open")[-1]
        ours = {"path": opened["output"]["data"][0]["path"], "meta": {"_type": "gradio.FileData"}}
        said = call(visitor, [ours], "_open")[-1]
        assert said["success"] and said["output"]["data"][0] == {"__type__": "update"}
        paint(visitor, "stroke")
    assert list(kept) == ["stroke"]
