"""What a visitor of the page is told of a photograph that is restored in part."""

import types

import cv2
import numpy as np
import pytest

from faceflax.restoration.restorers import Restorer
from faceflax.serving.limits import Limits
from tests import faces
from tests.known_faces import CORNERS, SIZE, always
from tests.visits import call, visiting

pytest.importorskip("gradio", reason="needs faceflax[serve]")


def upload(visitor, pixels):
    """The uploaded file, as the page names it."""
    files = {"files": ("a.png", cv2.imencode(".png", pixels)[1].tobytes(), "image/png")}
    (path,) = visitor.post("/gradio_api/upload", files=files).json()
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
