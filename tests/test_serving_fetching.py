"""The page's application calls no other server, whatever a visitor sends it."""

import types

import pytest

from faceflax.serving.limits import Limits
from tests.visits import call, visiting

pytest.importorskip("gradio", reason="needs faceflax[serve]")
ADDRESS = "https://example.org/large.png"
FILE = {"path": ADDRESS, "meta": {"_type": "gradio.FileData"}}
NOTHING = {"background": None, "layers": [], "composite": None, "id": None}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A visitor of the page, and the addresses that its server fetched."""
    import gradio.processing_utils
    import gradio.routes

    from faceflax.serving import page

    fetched = []

    async def fetch(address, *others, **named):
        fetched.append(address)
        raise AssertionError("another server is called")

    models = types.SimpleNamespace(names=("model",), blendable=(), load=lambda *_: types.SimpleNamespace(size=256))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("async_ssrf_protected_get", "async_ssrf_protected_download"):
            patch.setattr(gradio.processing_utils, name, fetch)
        patch.setattr(gradio.routes, "secure_url_stream_response", fetch)
        with visiting(page.Site(models, None, tmp_path_factory.mktemp("site"), Limits())) as visitor:
            yield visitor, fetched


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ([FILE], "_open"),
        ([FILE, "noise", "25", 256, 0], "_on_damage"),
        ([None, NOTHING | {"background": FILE}, "model", 0, True], "_on_restore"),
        ([None, NOTHING | {"layers": [FILE]}, "model", 0, True], "_on_restore"),
        ([None, None, FILE, 0, True], "_on_restore"),  # where a word is expected, Gradio fetches too
    ],
)
def test_a_url_for_a_file_is_refused_before_it_is_fetched(page, inputs, name):
    visitor, fetched = page
    said = call(visitor, inputs, name)[-1]
    assert not said["success"] and "was not uploaded here" in said["output"]["error"]
    assert not fetched


@pytest.mark.parametrize("address", [ADDRESS, "https%3A%2F%2Fexample.org%2Fa"])
def test_the_page_is_no_proxy(page, address):
    visitor, fetched = page
    for ask_for in (visitor.get, visitor.head):
        assert ask_for(f"/gradio_api/file={address}").status_code == 403
    assert visitor.get(f"/gradio_api/proxy={address}").status_code == 403
    assert not fetched
