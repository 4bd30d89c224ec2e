"""Holes of whole photographs: what is looked for, what fills them in faces and beside them, and what is said of it."""

import json

import cv2
import numpy as np
import pytest

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import holes, paste, seam, subjects
from faceflax.restoration.photographs import Options
from faceflax.restoration.subjects import Located
from tests import faces
from tests.known_faces import CORNERS, SIDE, SIZE, always, jobs, located, run

RED = np.float32([1, 0, 0])
IN_FIRST = np.s_[20:30, 15:30]  # of the squares at CORNERS
IN_NONE = np.s_[0:3, 100:]


def masked(job, *windows):
    """The job with a mask of these windows, any number but 0 counts; and the holes, bool [H, W]."""
    mask = np.zeros(read(job.source).pixels.shape[:2], np.uint8)
    for window in windows:
        mask[window] = 1
    path = job.output.parent.parent / "masks" / job.output.name
    write(path, Photograph(mask, None))
    return Job(job.source, job.output, path), mask > 0


def redden(image, missing):
    return np.where(missing > 0, RED, image)


def report(job):
    return json.loads(job.output.with_suffix(".json").read_text())


def scratches(shape):
    hole = np.zeros(shape, np.uint8)
    for start, end in (((5, 9), (120, 70)), ((60, 0), (40, 127)), ((0, 100), (127, 90))):
        cv2.line(hole, start, end, 1, 3)
    return hole > 0


@pytest.mark.parametrize("most", [2**20, 2**12])
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bit"])
def test_a_slope_goes_on_through_holes_and_known_pixels_stay(monkeypatch, most, kind):
    monkeypatch.setattr(holes, "_MOST_PIXELS", most)
    monkeypatch.setattr(holes, "_TILE", 50)
    rows, columns = np.indices((130, 160))
    slope = (20 + 0.5 * rows + 0.9 * columns).astype(np.uint8)
    if kind != "grey":
        slope = np.dstack([slope, 255 - slope, slope])
    if kind == "16 bit":
        slope = slope.astype(np.uint16) * 257
    missing = (rows - 70) ** 2 + (columns - 80) ** 2 < 30**2
    missing[5:9, 3:140] = True
    painted = slope.copy()
    painted[missing] = np.iinfo(slope.dtype).max
    filled = holes.fill(painted, missing)
    assert filled.dtype == slope.dtype
    np.testing.assert_array_equal(filled[~missing], slope[~missing])
    assert np.abs(filled[missing].astype(int) - slope[missing]).max() < 0.03 * np.iinfo(slope.dtype).max


@pytest.mark.parametrize("most", [2**20, 2**12])
def test_scratches_are_filled_as_well_as_by_telea(monkeypatch, most):
    monkeypatch.setattr(holes, "_MOST_PIXELS", most)
    hole, ours, telea = scratches((128, 128)), [], []
    for clean in faces.load(4):
        painted = clean.copy()
        painted[hole] = 255
        pair = holes.fill(painted, hole), cv2.inpaint(painted, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        errors = [np.mean((filled[hole].astype(float) - clean[hole]) ** 2) for filled in pair]
        ours, telea = [*ours, errors[0]], [*telea, errors[1]]
    assert np.mean(ours) < np.mean(telea)


@pytest.mark.parametrize("is_missing", [True, False])
def test_without_a_hole_or_anything_known_nothing_is_filled(is_missing):
    pixels = faces.background(9, 7)
    np.testing.assert_array_equal(holes.fill(pixels, np.full((9, 7), is_missing)), pixels)


class _Sure:
    angles = (0.0, 0.0, 0.0)

    def __init__(self, score):
        self.score = score


def test_of_the_points_in_the_painted_and_the_filled_picture_those_of_the_surer_mesh_count():
    """The first face's are as good in what is painted, the second's better in what is filled, where a third appears."""
    first, second, third = located(*CORNERS)
    moved = [Located(Face(one.face.box + 3, one.face.points + 3, 0.99), None) for one in (first, second)]
    painted = [Located(first.face, _Sure(0.99998)), Located(second.face, _Sure(0.91))]
    filled = [Located(moved[0].face, _Sure(0.99999)), Located(moved[1].face, _Sure(0.98)), third]
    white, grey = (Photograph(np.full((110, 120, 3), value, np.uint8), None) for value in (255, 99))
    found = subjects.find(
        white, lambda pixels: painted if pixels.max() == 255 else filled, SIZE, np.zeros((110, 120), bool), filled=grey
    )
    assert {id(one.located) for one in found} == {id(one) for one in (painted[0], filled[1], third)}


def test_a_face_that_paint_hides_is_found_where_it_is_filled(tmp_path):
    (job,) = jobs(tmp_path, 1)
    pixels = read(job.source).pixels
    pixels[IN_FIRST] = (0, 255, 0)
    write(job.source, Photograph(pixels, None))
    job, _ = masked(job, IN_FIRST)

    def locate(pixels):
        return [] if (pixels == (0, 255, 0)).all(axis=-1).any() else located(CORNERS[0])

    assert run([job], locate, redden) == ((1, 1), [])


def test_holes_alone_change_those_beside_faces_too(tmp_path, monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    (job,) = jobs(tmp_path, 1)
    job, hole = masked(job, IN_FIRST, IN_NONE)
    before, seen = read(job.source).pixels, []

    def fill(image, missing):
        seen.append((image, missing))
        return redden(image, missing)

    assert run([job], always(*CORNERS), fill) == ((1, 1), [])
    after = read(job.output).pixels
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert np.abs(after[IN_FIRST].astype(int) - (255, 0, 0)).max() <= 1
    np.testing.assert_array_equal(after[IN_NONE], holes.fill(before, hole)[IN_NONE])
    ((image, missing),) = seen
    assert (image[0][missing[0, ..., 0] > 0] == 0.5).all() and 0 < missing.mean() < 0.3
    reasons = [face.get("reason") for face in report(job)["faces"]]
    assert reasons == [None, subjects.NO_HOLE, subjects.NO_HOLE] and report(job)["filled_beside_faces"] == 60


def test_a_hole_over_the_border_of_a_face_has_no_edge_there(tmp_path, monkeypatch):
    """What the network draws, red, fades into what is filled smoothly."""
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    (job,) = jobs(tmp_path, 1)
    job, hole = masked(job, np.s_[20:30, 20:75])
    assert run([job], always(CORNERS[0]), lambda image, missing: np.ones_like(image)) == ((1, 1), [])
    after = read(job.output).pixels[25, :75].astype(int).mean(axis=-1)
    smooth = holes.fill(read(job.source).pixels, hole)[25, :75].mean(axis=-1)
    assert after[30] == 255 and abs(after[50:] - smooth[50:]).max() < 1
    assert np.abs(np.diff(after[20:])).max() < 0.6 * (255 - smooth[44])  # not all of it at one step
    assert 10 * 28 <= report(job)["filled_beside_faces"] <= 10 * 30


@pytest.mark.parametrize("corners", [((5, 10), (30, 10)), ((30, 10), (5, 10))])
@pytest.mark.parametrize("times", [1, 2])
def test_each_of_two_faces_side_by_side_draws_its_own_part_of_a_hole(tmp_path, monkeypatch, corners, times):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    (job,) = jobs(tmp_path, 1)
    job, _ = masked(job, np.s_[25:35, 20:55])

    def draw(image, missing):
        return np.float32([(1, 0, 0), (0, 0, 1)])[: len(image), None, None] + np.zeros_like(image)

    assert run([job], always(*corners), draw, options=Options(times=times)) == ((1, 2), [])
    after = read(job.output).pixels[30 * times]
    first, second = (after[(left + 15) * times : (left + 25) * times] for left, _ in corners)
    first, second = (np.median(part, axis=0) for part in (first, second))
    np.testing.assert_array_equal(first, (255, 0, 0))
    np.testing.assert_array_equal(second, (0, 0, 255))
    borders = np.abs(np.diff(after[20 * times : 55 * times].astype(int), axis=0)).sum(axis=1) > 255
    assert abs(20 + np.flatnonzero(borders).mean() / times - 37) <= 1  # half way between them


def test_paint_at_the_border_is_not_mirrored_into_what_is_known(tmp_path):
    """A square that reaches beyond the photograph shows its mirror image there, paint and all."""
    seen = []
    for name, paint in (("white", 255), ("black", 0)):
        (job,) = jobs(tmp_path / name, 1)
        job, hole = masked(job, np.s_[18:34, :6])
        pixels = read(job.source).pixels.copy()
        pixels[hole] = paint
        write(job.source, Photograph(pixels, None))

        def look(image, missing):
            seen.append((np.array(image), np.array(missing)))
            return image

        assert run([job], always((-8, 12)), look)[0] == (1, 1)
    (white, missing), (black, _) = seen[0], seen[-1]
    assert missing.any()
    np.testing.assert_allclose(white, black, atol=0.01)  # what the rim rounds


def test_two_faces_share_a_hole(tmp_path, monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    (job,) = jobs(tmp_path, 1)
    job, hole = masked(job, np.s_[25:35, 35:75])  # from the first square over the gap to the second
    assert run([job], always(*CORNERS[:2]), redden) == ((1, 2), [])
    before, after = read(job.source).pixels, read(job.output).pixels
    np.testing.assert_array_equal(after[~hole], before[~hole])
    red = after[28:32, [36, 37, 72, 73]].astype(int)
    assert np.abs(red - (255, 0, 0)).max() < 8  # divided by the gain of a face that is a little dark
    np.testing.assert_array_equal(after[25:35, 46:59], holes.fill(before, hole)[25:35, 46:59])


@pytest.mark.parametrize("kind", ["grey", "16 bit", "alpha"])
def test_depth_greyness_and_alpha_are_kept(tmp_path, kind):
    (job,) = jobs(tmp_path, 1, (110, 120) if kind == "grey" else (110, 120, 3))
    photograph = read(job.source)
    if kind == "16 bit":
        photograph = Photograph(photograph.pixels.astype(np.uint16) * 257, None)
    if kind == "alpha":
        photograph = Photograph(photograph.pixels, np.arange(110 * 120).reshape(110, 120).astype(np.uint8))
    write(job.source, photograph)
    job, hole = masked(job, IN_FIRST, IN_NONE)
    assert run([job], always(*CORNERS), redden) == ((1, 1), [])
    result = read(job.output)
    assert result.pixels.shape == photograph.pixels.shape and result.pixels.dtype == photograph.pixels.dtype
    np.testing.assert_array_equal(result.pixels[~hole], photograph.pixels[~hole])
    assert (result.pixels[IN_FIRST] != photograph.pixels[IN_FIRST]).any()
    if kind == "alpha":
        np.testing.assert_array_equal(result.alpha, photograph.alpha)


def test_paint_does_not_reach_over_the_rim_of_an_enlarged_hole(tmp_path):
    (job,) = jobs(tmp_path, 1)
    clean = read(job.source).pixels
    pixels = clean.copy()
    pixels[IN_FIRST] = pixels[IN_NONE] = (0, 255, 0)
    write(job.source, Photograph(pixels, None))
    job, hole = masked(job, IN_FIRST, IN_NONE)
    run([job], always(*CORNERS), redden, options=Options(times=2, is_compared=True))
    after = read(job.output).pixels
    far = cv2.dilate(hole.astype(np.uint8), np.ones((7, 7))).repeat(2, 0).repeat(2, 1) == 0
    np.testing.assert_array_equal(after[far], paste.enlarge(pixels, 2)[far])
    known = ~hole.repeat(2, 0).repeat(2, 1)
    assert np.abs(after[known].astype(int) - paste.enlarge(clean, 2)[known]).max() < 12
    pair = read(job.output.with_name("00.compare.png")).pixels
    np.testing.assert_array_equal(pair[:, :240], paste.enlarge(pixels, 2))


def test_holes_beside_the_faces_alone_are_filled_too(tmp_path):
    (job,) = jobs(tmp_path, 1)
    job, _ = masked(job, IN_NONE)
    assert run([job], always(*CORNERS)) == ((1, 0), [])
    assert [face["restored"] for face in report(job)["faces"]] == [False] * 3
    assert report(job)["filled_beside_faces"] == 60


def test_a_hole_in_a_face_that_is_not_restored_stays_and_is_told(tmp_path):
    """Of one that is hardly known beside one that is, and of one beside the middle one."""
    second = np.s_[12:52, 60:100]
    whole, central = jobs(tmp_path, 2)
    whole, hole = masked(whole, IN_FIRST, second, IN_NONE)
    counts, (failure,) = run([whole], always(*CORNERS[:2]), redden)
    assert counts == (1, 1) and "a hole in a face stays, as hardly anything of it is known" in failure
    before, after = read(whole.source).pixels, read(whole.output).pixels
    np.testing.assert_array_equal(after[22:42, 70:90], before[22:42, 70:90])
    assert (after[IN_NONE] != before[IN_NONE]).any() and (after[IN_FIRST] != before[IN_FIRST]).any()
    np.testing.assert_array_equal(after[~hole], before[~hole])

    central, _ = masked(central, np.s_[25:40, 20:30])  # of the second, nearer to the middle, nothing is hidden
    counts, (failure,) = run([central], always(*CORNERS[:2]), redden, options=Options(only_centre=True))
    assert counts == (0, 0) and "nothing to restore: another face is nearer to the centre; draw" in failure
    assert not central.output.exists()


def test_masks_that_leave_nothing_to_fill_or_nothing_to_fill_it_by(tmp_path):
    whole, hidden = jobs(tmp_path, 2)
    whole, _ = masked(whole)
    assert run([whole], always(*CORNERS), redden) == ((1, 0), [])
    np.testing.assert_array_equal(read(whole.output).pixels, read(whole.source).pixels)
    assert (report(whole)["faces"], report(whole)["filled_beside_faces"]) == ([], 0)
    hidden, _ = masked(hidden, np.s_[:])
    counts, (failure,) = run([hidden], always(*CORNERS))
    assert counts == (0, 0) and "hardly anything of it is known" in failure and "; draw" in failure
    assert not hidden.output.exists()


def test_holes_of_a_photograph_without_a_face_and_masks_of_another_size_are_refused(tmp_path):
    first, second = jobs(tmp_path, 2)
    first, _ = masked(first, IN_NONE)
    write(first.mask.with_name("small.png"), Photograph(np.ones((11, 12), np.uint8), None))
    second = Job(second.source, second.output, first.mask.with_name("small.png"))
    counts, failures = run([first, second], always())
    assert counts == (0, 0) and "00.png: no face found" in failures[0]
    assert "small.png: the mask is 12x11 but its image is 120x110; make them the same size" in failures[1]
    assert not first.output.exists() and not second.output.exists()


def test_a_face_that_is_covered_but_for_its_mouth_is_filled(tmp_path):
    (job,) = jobs(tmp_path, 1)
    job, _ = masked(job, np.s_[: CORNERS[0][1] + round(0.65 * SIDE)])
    assert run([job], always(CORNERS[0])) == ((1, 1), [])
