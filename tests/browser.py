"""The page's command in a process of its own, and a headless Chromium that visits it."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

PATIENCE = 120  # seconds for a step, on a busy machine
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,1500 "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"  # a camera that shows a green clock
)


@contextlib.contextmanager
def serving(folder, *arguments):
    """Starts the command and yields the page's address; the command removes its temporary files when it is stopped."""
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-c", "from faceflax.cli import main; main()", "serve", "--port", "0", *arguments]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=Path(__file__).parent.parent
        )
        try:
            said = process.stdout.readline()
            assert said.startswith("serving at http://127.0.0.1:"), (folder / "errors.txt").read_text()
            yield said.split()[2].rstrip(";")
        finally:
            process.terminate()
            assert process.wait(30) == 0
            assert not list(temporary.glob("faceflax-serve-*"))


@contextlib.contextmanager
def browsing(folder):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def wait_for(find, what):
    """What `find` returns as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


def element(driver, selector):
    return wait_for(lambda: next(iter(driver.find_elements("css selector", selector)), None), selector)


def press(driver, name):
    script = (
        "const b = document.getElementById(arguments[0]); if (!b || b.disabled) return false; b.click(); return true"
    )
    wait_for(lambda: driver.execute_script(script, name), f"the button {name}")


def text(driver, selector):
    """What the elements say, read at once, as the page may replace them between two questions."""
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')"
    return driver.execute_script(script, selector)


def upload(driver, path):
    element(driver, "#photo input[type=file]").send_keys(str(path))


def editor(driver):
    """What the editor shows, BGR, as soon as it shows a picture: at first its middle is white."""

    def look():
        encoded = element(driver, "#editor canvas").screenshot_as_png
        shown = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        height, width = (side // 2 for side in shown.shape[:2])
        middle = shown[height - 9 : height + 9, width - 9 : width + 9]
        return [shown] if middle.min() < 200 and not text(driver, "#editor .progress-text") else None

    return wait_for(look, "the editor's picture")[0]


def paint(driver, shift):
    """A stroke of the editor's brush from its middle, by `shift` pixels (x, y)."""
    from selenium.webdriver.common.action_chains import ActionChains

    stroke = ActionChains(driver).move_to_element(element(driver, "#editor canvas")).click_and_hold()
    for _ in range(8):
        stroke = stroke.move_by_offset(shift[0] // 8, shift[1] // 8)
    stroke.release().perform()


def slides(driver):
    """Addresses of the two pictures of the slider, when both are there and loaded."""
    script = "return [...document.querySelectorAll('#slider img')].filter(i => i.naturalWidth).map(i => i.src)"
    sources = driver.execute_script(script)
    return sources if len(sources) == 2 else None
