"""Videos that cannot be restored leave nothing behind and are named with their reason; and the command."""

import os
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from faceflax import cli
from faceflax.errors import UserError
from faceflax.preprocessing import acquire, console
from faceflax.restoration import film, restorers, subjects, video
from faceflax.restoration.restorers import Restorer
from tests.films import MODEL, SIZE, copy, locator, record, restore


@pytest.fixture
def in_turn(monkeypatch):
    """One thread searches, so that a locator can count the frames."""
    monkeypatch.setattr(video.os, "cpu_count", lambda: 1)


@pytest.mark.parametrize("data", [b"", b"hello", "cut"])
def test_what_is_no_video_leaves_nothing(tmp_path, in_turn, data):
    source = tmp_path / "in.mp4"
    if data == "cut":
        record(source)
        data = source.read_bytes()[:2000]
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"in\.mp4: ") as told:
        restore(source, tmp_path / "out" / "in.mp4", locator())
    with pytest.raises(UserError) as told_by_normalize:
        list(acquire.frames(str(source)))
    assert str(told.value) == str(told_by_normalize.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["mkv", "avi", "mp4", "between packets"])
def test_a_video_that_is_cut_short_is_named_and_leaves_nothing(tmp_path, in_turn, kind):
    suffix = "mp4" if kind == "between packets" else kind
    record(tmp_path / f"whole.{suffix}", rate="10", sound=False)
    source = tmp_path / f"in.{suffix}"
    options = ["-movflags", "+faststart"] if suffix == "mp4" else []
    copy(tmp_path / f"whole.{suffix}", source, "-c", "copy", *options)
    film.probe(source)
    data = source.read_bytes()
    end = int(0.7 * len(data))
    if kind == "between packets":
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", source, "-c", "copy", "-f", "framecrc", "-"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        sizes = [int(line.split(",")[4]) for line in listed if line[0] == "0"]
        end = data.index(b"mdat") + 4 + sum(sizes[:9])
    source.write_bytes(data[:end])
    with pytest.raises(UserError, match=r"in\.\w+: is cut short") as caught:
        restore(source, tmp_path / "out" / source.name, locator())
    assert not (tmp_path / "out").exists()
    subprocess.run(str(caught.value).split(": ")[-1], shell=True, capture_output=True, check=True)  # as it is told
    assert film.probe(tmp_path / f"in-part.{suffix}").shape == (96, 128)
    frames = acquire.frames(str(source))
    assert next(frames)[0] == 0
    with pytest.raises(UserError, match="is cut short"):
        list(frames)


def test_a_full_disk_ends_the_run_with_its_reason(tmp_path, in_turn, monkeypatch):
    record(tmp_path / "in.mp4")
    full = tmp_path / "ffmpeg"
    full.write_text("#!/bin/sh\ncat >/dev/null\necho 'Error writing trailer: No space left on device' >&2\nexit 228\n")
    full.chmod(0o755)
    start = subprocess.Popen

    def replaced(command, **options):
        is_writer = options.get("stdin") == subprocess.PIPE
        return start([str(full)] if is_writer else command, **options)

    monkeypatch.setattr(film.subprocess, "Popen", replaced)
    with pytest.raises(UserError, match=r"cannot write .*in\.mp4: No space left on device; free space") as caught:
        restore(tmp_path / "in.mp4", tmp_path / "out" / "in.mp4", locator())
    assert console.is_fatal(caught.value) and not list((tmp_path / "out").iterdir())


def test_an_ffmpeg_that_dies_publishes_nothing(tmp_path, in_turn, monkeypatch):
    record(tmp_path / "in.mp4")
    readers, start, locate = [], subprocess.Popen, locator()

    def remembered(*args, **options):
        process = start(*args, **options)
        readers.extend([process] if "rawvideo" in args[0] and options["stdin"] == subprocess.DEVNULL else [])
        return process

    def kill(pixels):
        readers[0].kill()
        return locate(pixels)

    monkeypatch.setattr(film.subprocess, "Popen", remembered)
    with pytest.raises(UserError, match=r"in\.mp4: cannot be decoded to its end"):
        restore(tmp_path / "in.mp4", tmp_path / "out" / "in.mp4", kill)
    assert len(readers) == 1 and not list((tmp_path / "out").iterdir())


def test_a_network_of_no_use_is_told_with_the_name_of_the_video(tmp_path, in_turn):
    record(tmp_path / "in.mp4")
    with pytest.raises(UserError, match=r"in\.mp4: the model's output is not finite"):
        restore(tmp_path / "in.mp4", tmp_path / "out" / "in.mp4", locator(), lambda image, mask: image * np.nan)
    assert not list((tmp_path / "out").iterdir())


def test_a_video_without_a_face_leaves_nothing(tmp_path, in_turn):
    record(tmp_path / "in.mp4")
    with pytest.raises(UserError, match="no face found in any of its 24 frames"):
        restore(tmp_path / "in.mp4", tmp_path / "out" / "in.mp4", lambda pixels: [])
    assert not list((tmp_path / "out").iterdir())


def test_the_command_takes_videos_and_photographs(tmp_path, in_turn, monkeypatch, capsys):
    record(tmp_path / "film.mp4")
    monkeypatch.setattr(subjects, "load_locator", lambda **_: locator())
    monkeypatch.setattr(restorers, "load", lambda *_: Restorer(SIZE, lambda image, mask: image, MODEL))
    (tmp_path / "sub").mkdir()
    (tmp_path / "film.mp4").rename(tmp_path / "sub" / "film.mp4")
    (tmp_path / "bad.mkv").write_bytes(b"no film")

    def run(*options):
        inputs = [str(tmp_path), str(tmp_path / "none.mp4")]
        with pytest.raises(SystemExit) as caught:
            cli.main(["restore", *inputs, "--out", str(tmp_path / "out"), *options])
        captured = capsys.readouterr()
        assert caught.value.code == 1 and "none.mp4: no such file" in captured.err
        return captured

    refused = run("--compare").err
    assert refused.count("--compare is for photographs, and this is a video; restore it apart") == 2
    assert not (tmp_path / "out").exists()
    captured = run()
    assert f"restored 1 face through 24 frames into {tmp_path / 'out' / 'sub' / 'film.mp4'}\n" in captured.out
    assert "bad.mkv: is no video" in captured.err
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["sub/film.json", "sub/film.mp4"]


def test_a_name_that_is_not_utf8_is_one_sentence(tmp_path):
    path = tmp_path / os.fsdecode(b"v\xff.mp4")
    path.write_bytes(b"anything")
    with pytest.raises(UserError, match="must be UTF-8; rename it"):
        film.probe(path)
    with pytest.raises(UserError, match="must be UTF-8; rename it"):
        next(acquire.frames(str(path)))
