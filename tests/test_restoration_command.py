"""`faceflax restore` from the command line: names, masks, exit codes and sentences, with a model as small as can be."""

import functools
import os

import numpy as np
import pytest

from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import plan
from tests import commands, untrained

SIZE = 32
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A workdir whose network returns its input."""
    return untrained.make_workdir(tmp_path_factory.mktemp("workdir"), SIZE)


def face(path, shape=(SIZE, SIZE)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (*shape, 3), np.uint8)
    write(path, Photograph(pixels, None))
    return pixels


restore = functools.partial(commands.run, "restore")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_names_and_sizes(tmp_path, model, capsys):
    pixels = {name: face(tmp_path / "in" / f"{name}.png", (SIZE, SIZE)) for name in ("a", "sub/b", "sub/deep/c.v2")}
    face(tmp_path / "in" / "sub" / "large.png", (50, 70))
    (tmp_path / "in" / "notes.txt").write_text("not an image, passed over")
    face(tmp_path / "in" / ".hidden.png")
    assert restore(tmp_path / "in", "--aligned", "--out", tmp_path / "out", "--model", model, "--batch-size", "3") == 0
    assert names(tmp_path / "out") == ["a.png", "sub/b.png", "sub/deep/c.v2.png", "sub/large.png"]
    for name, expected in pixels.items():
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}.png").pixels, expected)
    assert read(tmp_path / "out" / "sub" / "large.png").pixels.shape == (50, 70, 3)
    captured = capsys.readouterr()
    assert captured.out == f"restored 4 of 4 images into {tmp_path / 'out'}\n"
    assert captured.err == ""


def test_mirror_takes_the_mean_of_both_views(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    missing = np.zeros((128, 128), np.uint8)
    missing[30:60, 10:50] = 255
    for name, turned in (("a", slice(None)), ("b", slice(None, None, -1))):
        write(tmp_path / "in" / f"{name}.png", Photograph(pixels[:, turned], None))
        write(tmp_path / "masks" / f"{name}.png", Photograph(missing[:, turned], None))
    given = (tmp_path / "in", "--aligned", "--model", "tiny", "--mask", tmp_path / "masks", "--out")
    assert restore(*given, tmp_path / "once") == 0
    assert restore(*given, tmp_path / "mirrored", "--mirror") == 0
    plain, turned, mean = (
        read(tmp_path / name).pixels.astype(int) for name in ("once/a.png", "once/b.png", "mirrored/a.png")
    )
    assert np.abs(plain - turned[:, ::-1]).max() > 10  # the network is no mirror of itself
    np.testing.assert_allclose(mean, (plain + turned[:, ::-1]) / 2, atol=1)


def test_bad_files_are_named_and_the_rest_is_done(tmp_path, model, capsys):
    face(tmp_path / "in" / "good.png")
    for name, data in {
        "empty.jpg": b"",
        "text.jpg": b"hello",
        "cut.png": (tmp_path / "in/good.png").read_bytes()[:90],
    }.items():
        (tmp_path / "in" / name).write_bytes(data)
    assert restore(tmp_path / "in", "--aligned", "--out", tmp_path / "out", "--model", model) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("restored 1 of 4 images")
    assert names(tmp_path / "out") == ["good.png"]
    lines = captured.err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert all(any(name in line for line in lines) for name in ("empty.jpg", "text.jpg", "cut.png"))


def test_cameras_and_streams_are_one_sentence_each_and_the_rest_is_done(tmp_path, model, capsys):
    face(tmp_path / "a.png")
    live = ("97", "rtsp://me:secret@127.0.0.1:9/live?key=1")
    assert restore(*live, tmp_path / "a.png", "--aligned", "--out", tmp_path / "out", "--model", model) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("restored 1 of 1 image into")
    assert captured.err.count("a camera or stream is for faceflax normalize") == captured.err.count("\n") == 2
    assert "secret" not in captured.err and "key" not in captured.err
    assert restore(*live, "--out", tmp_path / "out") == 1


def test_patterns_stand_for_files(tmp_path, model):
    face(tmp_path / "in" / "sub" / "a.png")
    face(tmp_path / "in" / "b.png")
    assert restore(tmp_path / "in" / "**" / "a*", "--aligned", "--out", tmp_path / "out", "--model", model) == 0
    assert names(tmp_path / "out") == ["a.png"]


def test_masks_from_a_folder(tmp_path, model, capsys):
    pixels = face(tmp_path / "in" / "sub" / "a.png", (40, 44))
    face(tmp_path / "in" / "none.png")
    face(tmp_path / "in" / "small.png")
    mask = np.zeros((40, 44), np.uint8)
    mask[5:9, 7:20] = 1
    write(tmp_path / "masks" / "sub" / "a.png", Photograph(mask, None))
    write(tmp_path / "masks" / "small.png", Photograph(mask, None))
    arguments = ("--aligned", "--out", tmp_path / "out", "--model", model, "--mask", tmp_path / "masks")
    assert restore(tmp_path / "in", *arguments) == 1
    result = read(tmp_path / "out" / "sub" / "a.png").pixels
    np.testing.assert_array_equal(result[mask == 0], pixels[mask == 0])
    hole = result[6:8, 9:18].astype(int)  # this model fills it smoothly
    assert np.abs(np.diff(hole, axis=1)).max() < 16 < np.abs(np.diff(pixels[6:8, 9:18].astype(int), axis=1)).max()
    errors = capsys.readouterr().err
    assert "holds no mask named none" in errors and "the mask is 44x40 but its image is 32x32" in errors


def test_one_mask_for_all(tmp_path, model):
    pixels = [face(tmp_path / "in" / name) for name in ("a.png", "b.png")]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:4] = 200
    write(tmp_path / "mask.png", Photograph(mask, None))
    arguments = ("--aligned", "--out", tmp_path / "out", "--model", model, "--mask", tmp_path / "mask.png")
    assert restore(tmp_path / "in", *arguments) == 0
    for name, expected in zip(("a.png", "b.png"), pixels, strict=True):
        result = read(tmp_path / "out" / name).pixels
        np.testing.assert_array_equal(result[4:], expected[4:])
        assert not np.array_equal(result[:4], expected[:4])


def test_the_help_says_what_is_taken(capsys):
    assert restore("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "PHOTO|FOLDER|VIDEO" in said and "images, videos, folders of them" in said and "patterns such as" in said


def test_a_mask_over_the_whole_crop_is_refused(tmp_path, model, capsys):
    face(tmp_path / "a.png")
    write(tmp_path / "mask.png", Photograph(np.full((SIZE, SIZE), 255, np.uint8), None))
    arguments = ("--aligned", "--out", tmp_path / "out", "--model", model, "--mask", tmp_path / "mask.png")
    assert restore(tmp_path / "a.png", *arguments) == 1
    assert "hardly anything of it is known" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--model": "nowhere"}, 'no model "nowhere"'),
        ({"--batch-size": "0"}, "--batch-size 0"),
        ({"--mask": "nowhere"}, "--mask nowhere: no such file or folder"),
        ({"--out": "in/a.png/out"}, "cannot make the folder in/a.png/out"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(change, sentence, tmp_path, model, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face(tmp_path / "in" / "a.png")
    options = {"--out": "out", "--model": str(model), "--aligned": ""} | change
    given = [part for name, value in options.items() if value is not None for part in (name, value) if part]
    assert restore("in", *given) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "in", tmp_path / "in" / "a.png"]


def test_inputs_are_never_overwritten(tmp_path, model, capsys):
    face(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    before = (tmp_path / "a.png").read_bytes()
    for given, sentence in ((tmp_path / "a.png", "would overwrite"), (tmp_path, "as photographs the next time")):
        assert restore(given, "--aligned", "--out", tmp_path, "--model", model) == 1
        assert (tmp_path / "a.png").read_bytes() == before
        assert sentence in capsys.readouterr().err


def test_a_name_that_is_not_utf8(tmp_path, model, capsys):
    name = os.fsdecode(b"caf\xe9")
    pixels = face(tmp_path / "in" / "x.png")
    (tmp_path / "in" / "x.png").rename(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / f"{name}2.png").write_bytes(b"broken")
    assert restore(tmp_path / "in", "--aligned", "--out", tmp_path / name, "--model", model) == 1
    np.testing.assert_array_equal(read(tmp_path / name / f"{name}.png").pixels, pixels)
    assert "restored 1 of 2" in capsys.readouterr().out


def _plan(tmp_path, *inputs, masks=None):
    jobs, failures = plan(list(inputs), tmp_path / "out", masks)
    return {job.output.relative_to(tmp_path / "out").as_posix(): job for job in jobs}, failures


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_results_that_would_share_a_name_have_the_suffix_in_it(tmp_path):
    sources = ("in/IMG_1.HEIC", "in/IMG_1.JPG", "in/b.png", "in/sub/IMG_1.png", "in/x.v2.png", "in/x.v2.jpg")
    touch(*(tmp_path / name for name in sources))
    expected = {"IMG_1.heic.png", "IMG_1.jpg.png", "b.png", "sub/IMG_1.png", "x.v2.png.png", "x.v2.jpg.png"}
    jobs, failures = _plan(tmp_path, tmp_path / "in")
    assert set(jobs) == expected and not failures
    assert jobs["IMG_1.heic.png"].source == tmp_path / "in/IMG_1.HEIC"
    for order in (sources[:3], sources[2::-1]):
        jobs, failures = _plan(tmp_path, *(tmp_path / name for name in order))
        assert {name: job.source.name for name, job in jobs.items()} == {
            "IMG_1.heic.png": "IMG_1.HEIC",
            "IMG_1.jpg.png": "IMG_1.JPG",
            "b.png": "b.png",
        }
        assert not failures


@pytest.mark.parametrize("turn", [1, -1])
def test_names_that_clash_with_their_suffix_too_go_to_the_first_by_path(tmp_path, turn):
    sources = [tmp_path / name for name in ("a.JPG", "a.png", "other/a.jpg", "a.jpg.tif", "b.png")]
    touch(*sources)
    jobs, failures = _plan(tmp_path, *sources[::turn])
    found = {name: job.source.relative_to(tmp_path).as_posix() for name, job in jobs.items()}
    assert found == {"a.jpg.png": "a.JPG", "a.png.png": "a.png", "b.png": "b.png"}
    assert len(failures) == 2 and all(f"that of {tmp_path / 'a.JPG'}; rename one" in failure for failure in failures)


def test_results_that_share_a_name_may_share_a_mask(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "masks" / "a.bmp", tmp_path / "masks" / "a.png.bmp")
    jobs, failures = _plan(tmp_path, tmp_path, masks=tmp_path / "masks")
    assert not failures
    assert {name: job.mask.name for name, job in jobs.items()} == {"a.jpg.png": "a.bmp", "a.png.png": "a.png.bmp"}


def test_a_file_named_twice_is_one_job(tmp_path):
    touch(tmp_path / "in" / "a.jpg")
    jobs, failures = _plan(tmp_path, tmp_path / "in", tmp_path / "in" / "a.jpg")
    assert list(jobs) == ["a.png"] and not failures


def test_results_and_masks_inside_the_input_folder_are_passed_over(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "out" / "old.png", tmp_path / "masks" / "a.png")
    jobs, failures = _plan(tmp_path, tmp_path, masks=tmp_path / "masks")
    assert list(jobs) == ["a.png"] and not failures
    assert jobs["a.png"].mask == tmp_path / "masks" / "a.png"


def test_a_mask_is_never_overwritten(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "out" / "a.png")
    jobs, failures = _plan(tmp_path, tmp_path / "a.jpg", masks=tmp_path / "out")
    assert not jobs and "would overwrite" in failures[0]


def test_two_masks_of_one_name(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "masks" / "a.png", tmp_path / "masks" / "a.bmp")
    jobs, failures = _plan(tmp_path, tmp_path / "a.jpg", masks=tmp_path / "masks")
    assert not jobs and "both masks" in failures[0]


def test_a_pipe_is_told_and_not_waited_for(tmp_path, model, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    face(tmp_path / "a.png")
    assert (
        restore(tmp_path / "pipe.png", tmp_path / "a.png", "--aligned", "--out", tmp_path / "out", "--model", model)
        == 1
    )
    captured = capsys.readouterr()
    assert captured.out.startswith("restored 1 of 2 images")
    assert f"{tmp_path / 'pipe.png'}: neither a file nor a folder" in captured.err and captured.err.count("\n") == 1


def test_a_video_among_crops_and_a_folder_in_a_results_place(tmp_path, model, capsys):
    face(tmp_path / "a.png")
    touch(tmp_path / "film.mp4")
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    command = (tmp_path / "a.png", tmp_path / "film.mp4", "--aligned", "--out", tmp_path / "out", "--model", model)
    assert restore(*command) == 1
    captured = capsys.readouterr()
    assert (
        "film.mp4: --aligned is for images, and this is a video, whose faces are found; restore it wi" in captured.err
    )
    assert "a.png: Is a directory; choose another place" in captured.err and captured.err.count("\n") == 2
    assert captured.out.startswith("restored 0 of 2 images")


def test_inputs_that_hold_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    jobs, failures = _plan(tmp_path, tmp_path / "empty", tmp_path / "missing.jpg")
    assert not jobs and "holds no images" in failures[0] and "no such file" in failures[1]
