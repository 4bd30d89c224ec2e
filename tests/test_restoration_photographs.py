"""Whole photographs: batches, memory, reports and holes, with faces of known places and known functions."""

import json
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import paste, photographs, results, subjects
from faceflax.restoration.photographs import Options
from faceflax.restoration.subjects import Located
from tests import faces
from tests.known_faces import CORNERS, SIDE, SIZE, always, invert, jobs, located, run


def test_batches_are_filled_across_photographs(tmp_path):
    sizes = []

    def restore(image, mask):
        assert image.dtype == mask.dtype == np.float32 and image.shape[1:] == (SIZE, SIZE, 3) and not mask.any()
        sizes.append(len(image))
        return image

    counts, failures = run(jobs(tmp_path, 5), always(*CORNERS), restore)
    assert counts == (5, 15) and not failures and sizes == [3, 4, 4, 4]  # the first photograph does not wait for others


def test_every_face_gets_its_own_result_and_the_background_stays(tmp_path):
    made = jobs(tmp_path, 4)
    counts, _ = run(made, always(*CORNERS), invert)
    assert counts == (4, 12)
    for job in made:
        before, after = (read(path).pixels for path in (job.source, job.output))
        expected = before.copy()
        touched = np.zeros(before.shape[:2], bool)
        for subject in subjects.find(Photograph(before, None), always(*CORNERS), SIZE):
            crop = subject.crop
            restored = crop.in_own_light(
                invert(crop.shown[None], None)[0]
            )  # of its finest detail it leaves next to nothing
            matched = paste.match_colour(restored, crop.image)
            touched |= paste.paste(expected, matched.astype(np.float32), crop.mask, crop.place) > 0
        assert np.abs(after.astype(int) - expected).max() <= 1
        np.testing.assert_array_equal(after[~touched], before[~touched])
        assert 0.1 < touched.mean() < 0.6 and (after != before).any(axis=-1)[touched].mean() > 0.8


def test_a_report_goes_with_each_photograph(tmp_path):
    made = jobs(tmp_path, 1)
    odd = Located(Face(np.array([80.0, 80, 90, 90]), np.full((5, 2), 85.0), 0.5), None)
    run(made, lambda pixels: [*located(*CORNERS), odd])
    report = json.loads((tmp_path / "out" / "00.json").read_text())
    assert report["source"] == str(made[0].source) and report["result"] == str(made[0].output)
    assert (report["width"], report["height"], report["times"]) == (120, 110, 1)
    assert report["model"] == {"model": "known", "fingerprint": "c0ffee", "size": SIZE} and report["command"]
    *good, bad = report["faces"]
    assert [face["restored"] for face in good] == [True] * 3 and not bad["restored"] and "five points" in bad["reason"]
    assert good[0]["box"] == [5, 10, 45, 50] and len(good[0]["points"]) == 5 and good[0]["score"] == 0.9
    assert [face["taken_back"] for face in good] == [
        1.0
    ] * 3 and "taken_back" not in bad  # the network returns its input
    assert good[0]["pixels_per_model_pixel"] == pytest.approx(SIDE / SIZE) and good[0]["yaw"] is None


def test_a_face_that_the_edge_cuts_is_restored_as_far_as_it_is_there(tmp_path):
    """Its left eye lies outside, so that `normalize` would refuse it."""
    (job,) = jobs(tmp_path, 1)
    counts, failures = run([job], always((-15, 30)), invert)
    assert counts == (1, 1) and not failures
    changed = (read(job.output).pixels != read(job.source).pixels).any(axis=-1)
    assert changed[45:55, :5].mean() > 0.8 and not changed[:, 30:].any()
    assert json.loads((tmp_path / "out" / "00.json").read_text())["faces"][0]["restored"]


class _Turned:
    angles = (75.0, 0.0, 0.0)


def test_a_face_from_the_side_is_reported_and_left(tmp_path):
    made = jobs(tmp_path, 2)
    first, second = located(*CORNERS[:2])
    aside = Located(second.face, _Turned())
    counts, failures = run(made[:1], lambda pixels: [first, aside], invert)
    assert counts == (1, 1) and not failures
    face = json.loads((tmp_path / "out" / "00.json").read_text())["faces"][1]
    assert face["yaw"] == 75 and not face["restored"] and "from the side" in face["reason"]
    _, failures = run(made[1:], lambda pixels: [aside])
    assert "01.png: nothing to restore: the face is seen from the side" in failures[0] and "; cut" in failures[0]
    assert not made[1].output.exists()


def test_why_the_face_in_the_middle_is_left_is_told_and_not_why_the_others_are(tmp_path):
    (job,) = jobs(tmp_path, 1)
    beside, middle = located(CORNERS[0], (40, 35))
    found = [beside, Located(middle.face, _Turned())]
    counts, failures = run([job], lambda pixels: found, options=Options(only_centre=True))
    assert counts == (0, 0) and "nothing to restore: the face is seen from the side" in failures[0]


def test_only_the_face_nearest_to_the_middle(tmp_path):
    made = jobs(tmp_path, 1)
    counts, _ = run(made, always(*CORNERS), invert, options=Options(only_centre=True))
    assert counts == (1, 1)
    before, after = (read(path).pixels for path in (made[0].source, made[0].output))
    changed = np.argwhere((before != after).any(axis=-1))
    # Its square begins at (60, 12); that of the third, which is no farther than a few pixels, at (30, 60).
    reported = [face["restored"] for face in json.loads(made[0].output.with_suffix(".json").read_text())["faces"]]
    assert reported.count(True) == 1 and np.ptp(changed, axis=0).max() <= SIDE


@pytest.mark.parametrize("options", [Options(times=2), Options(times=3, is_compared=True)])
def test_enlarging_and_comparing(tmp_path, options):
    made = jobs(tmp_path, 1)
    run(made, always(*CORNERS), invert, options=options)
    before = paste.enlarge(read(made[0].source).pixels, options.times)
    after = read(made[0].output).pixels
    assert after.shape == before.shape
    same = (after == before).all(axis=-1)
    assert same[: 8 * options.times].all() and 0.3 < same.mean() < 0.9
    report = json.loads(results.report_path(made[0].output).read_text())
    assert (report["width"], report["height"], report["times"]) == (120, 110, options.times)
    assert [face["box"] for face in report["faces"]] == [[x, y, x + SIDE, y + SIDE] for x, y in CORNERS]
    pair = results.comparison_path(made[0].output)
    assert pair.exists() == options.is_compared
    if options.is_compared:
        np.testing.assert_array_equal(read(pair).pixels, np.hstack([before, after]))


def test_a_result_may_have_as_many_pixels_as_an_input(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs.images, "MAX_PIXELS", 4 * 110 * 120)
    (job,) = jobs(tmp_path, 1)
    assert run([job], always(*CORNERS), options=Options(times=2)) == ((1, 3), [])
    counts, (failure,) = run([job], always(*CORNERS), options=Options(times=3))
    assert (
        counts == (0, 0) and "00.png: enlarged it has 360x330 pixels, more than" in failure and "--upscale" in failure
    )


@pytest.mark.parametrize("kind", ["grey", "16 bit", "alpha", "grey alpha"])
def test_depth_greyness_and_alpha_are_kept(tmp_path, kind):
    (job,) = jobs(tmp_path, 1, (110, 120) if "grey" in kind else (110, 120, 3))
    photograph = read(job.source)
    if kind == "16 bit":
        photograph = Photograph(photograph.pixels.astype(np.uint16) * 257, None)
    if "alpha" in kind:
        photograph = Photograph(photograph.pixels, np.arange(110 * 120).reshape(110, 120).astype(np.uint8))
    write(job.source, photograph)
    run([job], always(*CORNERS), invert)
    result = read(job.output)
    assert result.pixels.shape == photograph.pixels.shape and result.pixels.dtype == photograph.pixels.dtype
    assert (result.pixels != photograph.pixels).any()
    if "alpha" in kind:
        np.testing.assert_array_equal(result.alpha, photograph.alpha)


def test_memory_is_bounded_by_pixels(tmp_path, monkeypatch):
    made = jobs(tmp_path, 40)
    monkeypatch.setattr(photographs, "_MOST_PIXELS", 3 * 110 * 120)
    read_one, lock, inside, most = photographs._read, threading.Lock(), 0, 0
    finish = photographs._finish

    def enter(*arguments):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        return read_one(*arguments)

    def leave(*arguments):
        nonlocal inside
        result = finish(*arguments)
        with lock:
            inside -= 1
        return result

    monkeypatch.setattr(photographs, "_read", enter)
    monkeypatch.setattr(photographs, "_finish", leave)
    counts, _ = run(made, always(CORNERS[0]), batch_size=16)
    assert counts == (40, 40) and most <= 3 * 3 + 2


@pytest.mark.parametrize("kind", ["AVIF", "JPEG"])
def test_a_file_weighs_what_its_header_says(tmp_path, kind):
    source = tmp_path / "photo"
    Image.fromarray(faces.background(110, 120)).save(source, kind, icc_profile=bytes(300_000))
    assert photographs._claimed_pixels(Job(source, tmp_path / "out.png", None)) == 110 * 120


def test_two_boxes_of_one_face_are_one(monkeypatch):
    (face,) = located(CORNERS[0])
    shifted = Face(face.face.box + 25, face.face.points + 2, 0.8)
    (other,) = located(CORNERS[1])
    monkeypatch.setattr(subjects.detection, "load_detector", lambda *_: lambda pixels: [face.face, shifted, other.face])
    monkeypatch.setattr(subjects.mesh, "load_mesh", lambda: lambda pixels, face: None)
    found = [one.face for one in subjects.load_locator()(np.zeros((9, 9, 3), np.uint8))]
    assert found == [face.face, other.face]


def test_a_group_photograph_shrunk_four_times(tmp_path):
    """Six people, of whom nothing is kept."""
    locate = faces.published(subjects.load_locator)
    large = faces.group_photograph()
    small = cv2.resize(large, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    job = Job(tmp_path / "group.png", tmp_path / "out" / "group.png", None)
    write(job.source, Photograph(small, None))
    counts, failures = run([job], locate, invert)
    assert counts == (1, 6) and not failures
    result, expected = read(job.output).pixels, small.copy()
    blend = np.zeros(small.shape[:2], bool)
    for subject in subjects.find(Photograph(small, None), locate, SIZE):
        blend |= paste.paste(expected, np.zeros((SIZE, SIZE, 3), np.float32), subject.crop.mask, subject.crop.place) > 0
    np.testing.assert_array_equal(result[~blend], small[~blend])
    assert blend.mean() < 0.15 and (result != small).any(axis=-1)[blend].mean() > 0.8
    truths = [located.face.points for located in locate(large)]
    ours = [subject.located.face.points for subject in subjects.find(Photograph(small, None), locate, SIZE)]
    for points in ours:  # each is a face of the large photograph
        distances = [np.abs(4 * points - truth).mean() / np.linalg.norm(truth[1] - truth[0]) for truth in truths]
        assert min(distances) < 0.15
