"""The page is asked for by the names that it is served by, and by no other site's page."""

import types

import pytest

from faceflax.errors import UserError
from faceflax.serving import command, gate
from faceflax.serving.limits import Limits
from tests.visits import call, visiting


@pytest.fixture(scope="module", params=[gate.LOOPBACK | {"faces.example"}, None], ids=["named", "open"])
def served(request, tmp_path_factory):
    """A visitor of the page, and whether it is served by any name."""
    pytest.importorskip("gradio", reason="needs faceflax[serve]")
    from faceflax.serving import page

    models = types.SimpleNamespace(names=("model",), blendable=(), load=lambda *_: types.SimpleNamespace(size=256))
    site = page.Site(models, None, tmp_path_factory.mktemp("site"), Limits(), request.param)
    with visiting(site) as visitor:
        yield visitor, request.param is None


def statuses(visitor, headers):
    """Of a page, of an upload and of what a browser asks before; each refusal is a sentence and lets nobody read it."""
    answers = [
        visitor.get("/config", headers=headers),
        visitor.post("/gradio_api/upload", files={"files": ("a.png", b"content")}, headers=headers),
        visitor.options("/gradio_api/upload", headers=headers | {"access-control-request-method": "POST"}),
    ]
    for answer in answers:
        if answer.status_code == 403:
            assert answer.json()["detail"].endswith(".") and "access-control-allow-origin" not in answer.headers
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:9000", "[::1]:7860", "LocalHost:7860", "faces.example"])
def test_the_pages_own_requests_pass(served, name):
    visitor, _ = served
    get, post, _ = statuses(visitor, {"host": name})
    assert (get, post) == (200, 200)
    for scheme in ("http", "https"):
        assert statuses(visitor, {"host": name, "origin": f"{scheme}://{name.lower()}"}) == [200] * 3


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example:7860", "127.0.0.1.evil.example", "[::2]", ""])
def test_a_name_that_leads_here_from_elsewhere_is_refused(served, name):
    visitor, is_open = served
    assert statuses(visitor, {"host": name, "origin": f"http://{name}"}) == [200 if is_open else 403] * 3


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:3000", "null", "http://127.0.0.1:78600"])
def test_another_sites_page_is_refused(served, origin):
    visitor, _ = served
    assert statuses(visitor, {"host": "127.0.0.1:7860", "origin": origin}) == [403] * 3


def test_a_call_passes_as_a_browser_makes_it(served):
    visitor, _ = served
    visitor.headers["origin"] = "http://127.0.0.1:7860"
    try:
        assert (
            "no photograph yet" in call(visitor, [None, None, "model", 0, True], "_on_restore")[-1]["output"]["error"]
        )
    finally:
        del visitor.headers["origin"]


@pytest.mark.parametrize(
    ("host", "further", "names"),
    [
        ("127.0.0.1", [], {"localhost", "127.0.0.1", "[::1]"}),
        ("LOCALHOST", [], {"localhost", "127.0.0.1", "[::1]"}),
        ("127.0.0.2", ["Faces.example"], {"localhost", "127.0.0.1", "[::1]", "127.0.0.2", "faces.example"}),
        ("0.0.0.0", [], None),
        ("0.0.0.0", ["FD00::0:1"], {"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[fd00::1]"}),
    ],
)
def test_the_names_that_a_page_is_served_by(host, further, names):
    with command._listen(host, 0) as listener:
        assert command._names(host, listener, command._checked(further)) == names


@pytest.mark.parametrize("name", ["http://faces.example", "faces.example:443", "", "a b", "[faces]"])
def test_what_is_no_name_gets_one_sentence(name):
    with pytest.raises(UserError, match="--allow-host .* is no name; give"):
        command._checked([name])
