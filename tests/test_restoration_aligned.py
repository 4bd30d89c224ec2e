"""Geometry, masks and batches of restoring face crops, with models that are known functions."""

import cv2
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import aligned, seam

SIZE = 32
RNG = np.random.default_rng(0)


def smooth(height, width):
    return cv2.resize(RNG.integers(0, 256, (4, 4, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def identity(image, mask):
    return image


def round_trip(pixels, missing=None, alpha=None, restore=identity):
    crop = aligned.prepare(Photograph(pixels, alpha), missing, SIZE)
    assert crop.image.shape == (SIZE, SIZE, 3) and crop.mask.shape == (SIZE, SIZE, 1)
    assert crop.image.dtype == np.float32 and crop.image.min() >= 0 and crop.image.max() <= 1
    return crop, aligned.finish(crop, restore(crop.image[None], crop.mask[None])[0])


def test_the_models_own_size_passes_unchanged():
    for pixels in (smooth(SIZE, SIZE), smooth(SIZE, SIZE)[..., 0], smooth(SIZE, SIZE).astype(np.uint16) * 257):
        _, result = round_trip(pixels)
        assert result.pixels.dtype == pixels.dtype
        # Grey goes through RGB and back, which may round by one.
        np.testing.assert_allclose(result.pixels.astype(int), pixels, atol=0 if pixels.ndim == 3 else 1)


@pytest.mark.parametrize("shape", [(112, 92), (48, 64), (20, 17), (33, 32), (300, 310)])
def test_any_size_comes_back_at_its_size_and_place(shape):
    pixels = smooth(*shape)
    _, result = round_trip(pixels)
    assert result.pixels.shape == pixels.shape
    assert np.abs(result.pixels.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (700, 2)])
def test_extreme_shapes(shape):
    _, result = round_trip(np.full((*shape, 3), 77, np.uint8))
    np.testing.assert_array_equal(result.pixels, np.full((*shape, 3), 77))


def test_faces_are_not_stretched():
    """A circle in a portrait image is a circle for the model."""
    pixels = np.zeros((128, 96, 3), np.uint8)
    cv2.circle(pixels, (48, 64), 20, (255,) * 3, -1)
    crop, _ = round_trip(pixels)
    rows, columns = np.nonzero(crop.image[..., 0] > 0.5)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=1)
    assert crop.window == (slice(0, 32), slice(4, 28))


def test_shrinking_is_antialiased():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _ = round_trip(stripes)
    np.testing.assert_allclose(crop.image, 0.5, atol=0.01)


@pytest.mark.parametrize("shape", [(64, 50), (32, 32), (17, 20)])
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bit"])
def test_known_pixels_are_kept_to_the_bit_and_missing_ones_filled(shape, kind, monkeypatch):
    monkeypatch.setattr(seam, "meet", lambda fill, *_: fill)
    pixels = RNG.integers(0, 256, (*shape, 3), np.uint8)
    if kind == "grey":
        pixels = pixels[..., 0]
    if kind == "16 bit":
        pixels = RNG.integers(0, 65536, (*shape, 3), np.uint16)
    missing = np.zeros(shape, bool)
    missing[3:9, 4:11] = True

    def fill(image, mask):
        return np.ones_like(image)

    _, result = round_trip(pixels, missing, restore=fill)
    np.testing.assert_array_equal(result.pixels[~missing], pixels[~missing])
    np.testing.assert_array_equal(result.pixels[missing], np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize("shape", [(100, 80), (32, 32), (12, 15)])
def test_what_lies_in_the_hole_does_not_reach_the_model(shape):
    pixels = smooth(*shape)
    missing = np.zeros(shape, bool)
    missing[4:9, 5:8] = True
    loud = pixels.copy()
    loud[missing] = (255, 0, 255)
    one, two = (aligned.prepare(Photograph(array, None), missing, SIZE) for array in (pixels, loud))
    np.testing.assert_array_equal(one.image, two.image)
    assert 0 < one.mask.mean() < 0.5
    assert (one.image[one.mask[..., 0] > 0] == 0.5).all()


def test_a_single_missing_pixel_is_not_lost():
    missing = np.zeros((320, 320), bool)
    missing[100, 200] = True
    crop = aligned.prepare(Photograph(smooth(320, 320), None), missing, SIZE)
    assert crop.mask.sum() == 1 and crop.mask[10, 20, 0] == 1


def test_alpha_passes_through():
    alpha = RNG.integers(0, 256, (40, 50), np.uint8)
    _, result = round_trip(smooth(40, 50), alpha=alpha)
    np.testing.assert_array_equal(result.alpha, alpha)


def test_out_of_range_results_are_clipped():
    _, result = round_trip(smooth(SIZE, SIZE), restore=lambda image, mask: image * 10 - 4)
    assert result.pixels.min() == 0 and result.pixels.max() == 255


def _jobs(folder, count):
    jobs = []
    for i in range(count):
        source = folder / "in" / f"{i:02d}.png"
        write(source, Photograph(np.full((SIZE, SIZE, 3), i, np.uint8), None))
        jobs.append(Job(source, folder / "out" / f"{i:02d}.png", None))
    return jobs


def _run(jobs, restore, batch_size=4):
    failures, advanced = [], []
    written = aligned.restore_files(
        jobs,
        restore,
        size=SIZE,
        batch_size=batch_size,
        on_failure=failures.append,
        advance=lambda: advanced.append(1),
    )
    assert len(advanced) == len(jobs)
    return written, failures


def test_every_file_gets_its_own_result_and_failures_do_not_stop_the_rest(tmp_path):
    jobs = _jobs(tmp_path, 11)
    jobs[2].source.write_bytes(b"no image")
    sizes = []

    def brighten(image, mask):
        sizes.append(len(image))
        return image + 100 / 255

    written, failures = _run(jobs, brighten)
    assert written == 10 and len(failures) == 1 and str(jobs[2].source) in failures[0]
    assert sizes == [4, 4, 2]
    for i, job in enumerate(jobs):
        if i == 2:
            assert not job.output.exists()
        else:
            np.testing.assert_array_equal(read(job.output).pixels, np.full((SIZE, SIZE, 3), 100 + i))


def test_a_result_that_is_not_finite_fails_alone(tmp_path):
    jobs = _jobs(tmp_path, 3)

    def break_first(image, mask):
        image = image.copy()
        image[0, 5, 5] = np.nan
        return image

    written, failures = _run(jobs, break_first)
    assert written == 2 and "not finite" in failures[0]
    assert not jobs[0].output.exists()


@pytest.mark.parametrize("error", [ValueError("odd"), cv2.error("odd"), MemoryError()])
@pytest.mark.parametrize("stage", ["prepare", "finish"])
def test_a_file_that_nobody_foresaw_fails_alone(tmp_path, monkeypatch, stage, error):
    jobs, work = _jobs(tmp_path, 3), getattr(aligned, stage)

    def fail_once(given, *others):
        if (given.pixels if stage == "prepare" else np.round(given.own * 255)).max() == 1:  # the second file's
            raise error
        return work(given, *others)

    monkeypatch.setattr(aligned, stage, fail_once)
    written, failures = _run(jobs, identity)
    assert written == 2 and len(failures) == 1 and failures[0].startswith(f"{jobs[1].source}: ")


def test_few_images_are_in_memory(tmp_path, monkeypatch):
    jobs = _jobs(tmp_path, 60)
    started, most = [], 0
    read_one = aligned._read
    monkeypatch.setattr(aligned, "_read", lambda job, **options: (started.append(1), read_one(job, **options))[1])

    def watch(image, mask):
        nonlocal most
        finished = len(list((tmp_path / "out").glob("[0-9]*.png")))
        most = max(most, len(started) - finished)
        return image

    written, _ = _run(jobs, watch)
    assert written == 60
    assert most <= 5 * 4


def test_a_full_disk_ends_the_run_with_one_sentence(tmp_path, monkeypatch):
    import errno

    def full(path, photograph, taken):
        raise UserError(f"cannot write {path}: No space left on device") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(aligned.results, "write", full)
    with pytest.raises(UserError, match="No space left"):
        _run(_jobs(tmp_path, 9), identity)


def test_profile_and_exif_go_along():
    pixels = np.zeros((20, 30, 3), np.uint8)
    crop = aligned.prepare(Photograph(pixels, None, b"profile", b"exif"), np.zeros((20, 30), bool), 16)
    for made in (crop, aligned.cover(crop, np.zeros((16, 16), bool))):
        result = aligned.finish(made, np.zeros((16, 16, 3), np.float32))
        assert (result.profile, result.exif) == (b"profile", b"exif")
