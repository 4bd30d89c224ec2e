"""The page in a real browser: a face is uploaded, damaged, restored and downloaded; no other server is asked."""

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request

import cv2
import numpy as np
import pytest

from tests import faces, untrained
from tests.browser import browsing, editor, element, paint, press, serving, slides, text, upload, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="the page is tested in Chromium: apt-get install chromium chromium-driver",
    ),
]
SIZE = 32


def fetch(address):
    with urllib.request.urlopen(address) as answer:
        return cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)


def foreign_requests(driver, home):
    """Addresses of other servers that the browser was asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith(home) for url in sent)
    return [url for url in sent if not url.startswith((home, "data:", "blob:", "chrome:"))]


def test_a_face_is_uploaded_damaged_restored_and_downloaded(tmp_path):
    (face,) = faces.load(1, 64)
    cv2.imwrite(str(tmp_path / "face.png"), face[..., ::-1])
    (tmp_path / "text.jpg").write_text("no picture")
    model = untrained.make_workdir(tmp_path / "model", SIZE)
    with serving(tmp_path, "--aligned", "--model", str(model)) as home, browsing(tmp_path) as driver:
        driver.get(home)
        upload(driver, tmp_path / "text.jpg")
        sentence = "The file cannot be used: not a JPEG, PNG, WebP, BMP,"
        wait_for(lambda: sentence in text(driver, ".toast-body"), "a word on a bad file")
        driver.get(home)
        cv2.imwrite(str(tmp_path / "face.tiff"), face[..., ::-1])
        upload(driver, tmp_path / "face.tiff")  # which Chromium cannot show, as HEIC
        seen = "return [...document.querySelectorAll('#photo img')].map(i => i.naturalWidth).join()"
        wait_for(lambda: driver.execute_script(seen) == "64", "what a browser can show of it")
        driver.get(home)
        upload(driver, tmp_path / "face.png")
        element(driver, "#editor canvas")
        press(driver, "restore")
        before, after = map(fetch, wait_for(lambda: slides(driver), "the restored face"))
        np.testing.assert_array_equal(before[..., ::-1], face)
        assert after.shape == before.shape
        # The network returns what it is given, at its own size.
        assert np.abs(after.astype(float) - before).mean() < 12
        press(driver, "damage")
        wait_for(lambda: slides(driver) is None, "the former result to go")
        press(driver, "restore")
        damaged, _ = map(fetch, wait_for(lambda: slides(driver), "the damaged face, restored"))
        assert damaged.shape == before.shape
        assert 5 < np.abs(damaged.astype(float) - before).mean() < 60  # noise of 25
        press(driver, "download")
        path = wait_for(lambda: next(iter((tmp_path / "downloads").glob("*.png")), None), "the download")
        assert cv2.imread(str(path)).shape == damaged.shape
        assert not foreign_requests(driver, home)


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """A browser, and the address of a page with a GAN that changes all that it sees, and whose CNN changes nothing."""
    folder = tmp_path_factory.mktemp("visit")
    gan = untrained.make_gan(folder / "gan", untrained.make_workdir(folder / "cnn", SIZE))
    with serving(folder, "--aligned", "--model", str(gan)) as home, browsing(folder) as driver:
        yield driver, home


def restored(driver, former=None):
    """Addresses, other than `former`, of the pictures before and after; and these, float."""
    press(driver, "restore")
    found = wait_for(lambda: (seen := slides(driver)) != former and seen, "the restored face")
    return found, *(fetch(address).astype(float) for address in found)


def open_face(driver, home, folder, size):
    cv2.imwrite(str(folder / "face.png"), faces.load(1, size)[0][..., ::-1])
    driver.get(home)
    upload(driver, folder / "face.png")
    editor(driver)


def test_what_the_brush_paints_is_filled_and_the_rest_is_kept(visit, tmp_path):
    driver, home = visit
    open_face(driver, home, tmp_path, 256)
    paint(driver, (48, 0))  # to the right of the middle
    wait_for(lambda: (np.abs(editor(driver).astype(int) - (255, 0, 255)).max(axis=2) < 9).sum() > 500, "the stroke")
    _, before, after = restored(driver)
    rows, columns = np.nonzero((before != after).any(axis=2))
    assert 0.01 < len(rows) / before[..., 0].size < 0.4
    assert abs(rows.mean() - 128) < 16 and 128 < columns.mean() < 180


def test_the_slider_of_fidelity_reaches_the_network(visit, tmp_path):
    from selenium.webdriver.common.keys import Keys

    driver, home = visit
    open_face(driver, home, tmp_path, SIZE)
    found, before, after = restored(driver)
    assert np.abs(after - before).mean() > 5
    element(driver, "input[aria-label*=Fidelity][type=range]").send_keys(Keys.END)
    _, before, after = restored(driver, found)
    np.testing.assert_array_equal(after, before)


def test_a_picture_is_taken_with_the_webcam(visit):
    driver, home = visit
    driver.get(home)
    for selector in ("[aria-label='Capture from camera']", ".wrap .icon-wrap", "[aria-label='capture photo']"):
        button = element(driver, f"#photo {selector}")
        wait_for(button.is_displayed, selector)
        button.click()
    assert editor(driver)[..., 1].mean() > 100
    _, before, _ = restored(driver)
    assert before.shape[0] >= 240 and before.shape[1] > before.shape[0]
    assert before[..., 1].mean() > 100 > 50 > before[..., [0, 2]].mean()  # Chromium's own camera is green


def answer(address, data, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_what_is_too_large_or_too_often_is_refused(tmp_path):
    model = untrained.make_workdir(tmp_path / "model", SIZE)
    arguments = ("--aligned", "--model", str(model), "--max-megabytes", "1")
    with serving(tmp_path, *arguments) as home:
        with urllib.request.urlopen(home) as page:
            assert "default-src 'self'" in page.headers["content-security-policy"]
        form = {"content-type": "multipart/form-data; boundary=x"}
        part = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n--x--\r\n'
        place = urllib.parse.urljoin(home, "gradio_api/upload")
        assert answer(place, part % bytes(10), form) == 200
        assert answer(place, part % bytes(2_500_000), form) == 413
        statuses = [answer(place, part % bytes(900_000), form) for _ in range(12)]
        assert statuses == [200] * 11 + [429]  # 10 MB in a minute


def ask(home, inputs, function):
    """The last words of the server about a call that its page would not make."""
    body = {"data": inputs, "fn_index": function, "session_hash": "stranger"}
    join = urllib.request.Request(
        urllib.parse.urljoin(home, "gradio_api/queue/join"),
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(join):
        pass
    with urllib.request.urlopen(urllib.parse.urljoin(home, "gradio_api/queue/data?session_hash=stranger")) as answers:
        messages = [json.loads(line[5:]) for line in answers.read().decode().splitlines() if line.startswith("data:")]
    return next(message for message in messages if message["msg"] == "process_completed")


def test_a_file_that_was_not_uploaded_is_not_opened(tmp_path):
    model = untrained.make_workdir(tmp_path / "model", SIZE)
    secret = tmp_path / "secret.png"
    cv2.imwrite(str(secret), faces.load(1, 64)[0])
    named = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    painted = {"background": named, "layers": [named], "composite": named, "id": None}
    with serving(tmp_path, "--aligned", "--model", str(model)) as home:
        with urllib.request.urlopen(urllib.parse.urljoin(home, "config")) as answer:
            config = json.load(answer)
        calls = {call["api_name"]: call for call in config["dependencies"]}
        assert {"_open", "_on_restore"} <= set(calls)
        assert not ask(home, [named], calls["_open"]["id"])["success"]
        restoring = [None, painted, "model", 0, True]
        said = ask(home, restoring, calls["_on_restore"]["id"])
        assert not said["success"] and "no photograph yet" not in str(said)  # refused before our function is called
        quiet = [None, None, "model", 0, True]
        assert "no photograph yet" in str(ask(home, quiet, calls["_on_restore"]["id"]))
