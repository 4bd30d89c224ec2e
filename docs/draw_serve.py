"""Draws serve.png, the page with a face that nobody has: python docs/draw_serve.py gan (needs Chromium)."""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import PIL.Image

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import faces
from tests.browser import browsing, element, press, serving, slides, upload, wait_for


def main(model: str, out: Path) -> None:
    """Damages and restores a test face of mini_faces with `model` (see `faceflax serve`), and photographs the page."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name), "--aligned", "--model", model) as home:
        face = Path(name) / "face.png"
        cv2.imwrite(str(face), faces.load(1, 128)[0][..., ::-1])
        with browsing(Path(name)) as driver:
            driver.get(home)
            upload(driver, face)
            element(driver, "#editor canvas")
            for button in ("damage", "restore"):
                time.sleep(5)
                press(driver, button)
            wait_for(lambda: slides(driver), "the restored face")
            time.sleep(2)
            driver.save_screenshot(str(out))
    picture = PIL.Image.open(out).convert("RGB")
    picture.thumbnail((960, 1200))
    picture.quantize(256, dither=PIL.Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(__file__).with_name("serve.png"))
