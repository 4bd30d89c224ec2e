"""Photographs that cannot be restored: each fails alone, and the rest is done."""

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job, plan
from faceflax.restoration import aligned, paste
from tests import faces
from tests.known_faces import CORNERS, always, jobs, located, run


def test_what_cannot_be_restored_is_named_and_the_rest_is_done(tmp_path):
    made = jobs(tmp_path, 6)
    made[1].source.write_bytes(b"hello")
    made[3].source.write_bytes(b"")

    def locate(pixels):
        return [] if (pixels == faces.background(110, 120, seed=4)).all() else located(*CORNERS[:1])

    counts, failures = run(made, locate)
    assert counts == (3, 3) and len(failures) == 3
    assert "01.png" in failures[0] and "03.png" in failures[1] and "04.png: no face found" in failures[2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("00.json", "00.png", "02.json", "02.png", "05.json", "05.png")
    ]


def test_a_result_that_is_not_finite_fails_alone(tmp_path):
    made = jobs(tmp_path, 3)
    counts, failures = run(made, always(CORNERS[0]), lambda image, mask: np.where(np.arange(3) == 0, np.nan, 0) + image)
    assert counts == (0, 0) and all("not finite" in failure for failure in failures)


def test_holes_that_are_transparent_are_told_what_to_do_with(tmp_path):
    """Without a mask, with themselves as one, with their own, and as a crop."""
    (job,) = jobs(tmp_path, 1)
    pixels, alpha = read(job.source).pixels, np.full((110, 120), 255, np.uint8)
    alpha[20:30, 15:30] = 0
    write(job.source, Photograph(pixels, alpha))
    mask = tmp_path / "masks" / "00.png"
    write(mask, Photograph(np.where(alpha > 0, 0, 255).astype(np.uint8), None))
    _, (failure,) = run([job], always())
    assert "no face found, and what is transparent in it is no hole; save it without transparency and dr" in failure
    for masks in (job.source, job.source.parent):
        assert "is its own --mask, in which all but black and" in plan([job.source], tmp_path / "out", masks)[1][0]
    masked, failures = Job(job.source, job.output, mask), []
    failures += run([masked], always(*CORNERS))[1]
    options = {"size": 32, "batch_size": 1, "on_failure": failures.append, "advance": lambda: None}
    assert aligned.restore_files([masked], lambda image, _: image, **options) == 0
    assert len(failures) == 2 and all("its holes are transparent, and would stay so" in each for each in failures)


@pytest.mark.parametrize("error", [ValueError("odd"), cv2.error("odd"), MemoryError()])
@pytest.mark.parametrize("stage", ["locating", "pasting"])
def test_a_file_that_nobody_foresaw_fails_alone(tmp_path, monkeypatch, stage, error):
    made = jobs(tmp_path, 3)
    strange = read(made[1].source).pixels
    enlarge = paste.enlarge

    def locate(pixels):
        if stage == "locating" and (pixels == strange).all():
            raise error
        return located(CORNERS[0])

    def fail_once(pixels, times):
        if stage == "pasting" and (pixels == strange).all():
            raise error
        return enlarge(pixels, times)

    monkeypatch.setattr(paste, "enlarge", fail_once)
    counts, failures = run(made, locate)
    assert counts == (2, 2) and len(failures) == 1 and failures[0].startswith(f"{made[1].source}: ")
