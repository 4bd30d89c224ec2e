"""The page's application as a visitor's browser calls it, without a browser or a server."""

import contextlib
import json

import PIL.Image
import pytest
from fastapi.testclient import TestClient


@contextlib.contextmanager
def visiting(site, **options):
    """A visitor of the page; `options` as for `TestClient`."""
    from faceflax.serving import page

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(site.folder))
        patch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", PIL.Image.MAX_IMAGE_PIXELS)  # the page sets it
        known = {"base_url": "http://127.0.0.1:7860", "raise_server_exceptions": False}
        with TestClient(page.create_app(site), **known | options) as visitor:
            yield visitor


def call(visitor, inputs, name):
    """What the server says of a call of the function `name`: all of its messages, the last one about its end."""
    calls = {each["api_name"]: each["id"] for each in visitor.get("/config").json()["dependencies"]}
    body = {"data": inputs, "fn_index": calls[name], "session_hash": "stranger"}
    assert visitor.post("/gradio_api/queue/join", json=body).status_code == 200
    answers = visitor.get("/gradio_api/queue/data?session_hash=stranger").text
    said = [json.loads(line[5:]) for line in answers.splitlines() if line.startswith("data:")]
    end = next(number for number, message in enumerate(said) if message["msg"] == "process_completed")
    return said[: end + 1]
