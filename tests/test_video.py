"""Videos: frames, rate, size and sound are kept, faces do not flicker, and failures leave nothing behind."""

import contextlib
import fractions
import gc
import json
import os
import re
import subprocess
import weakref
from unittest import mock

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from faceflax import cli
from faceflax.errors import UserError
from faceflax.preprocessing import acquire, console
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import film, restorers, subjects, video
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Located
from tests import faces

SIZE, SIDE, FRAMES = 32, 48, 24
MODEL = {"model": "known", "fingerprint": "c0ffee", "size": SIZE}


def corner(frame, speed=1):
    return np.array([10.0 + speed * frame, 20.0])


def record(path, shape=(96, 128), rate="30000/1001", sound=True, speed=1, filters="null"):
    """A face that moves a pixel a frame over a still background, with a tone of its length."""
    height, width = shape
    (face,) = faces.load(1, SIDE)
    background = faces.background(height, width)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    command += ["-f", "lavfi", "-i", "sine=duration=0.8"] if sound else []
    pixels = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
    frames = []
    for number in range(FRAMES):
        frame = background.copy()
        x, y = corner(number, speed).astype(int)
        frame[y : y + SIDE, x : x + SIDE] = face
        frames.append(frame)
    command += ["-vf", filters, "-c:v", "libx264", "-crf", "10", "-pix_fmt", pixels, "-fps_mode", "passthrough"]
    command += [str(path)]
    subprocess.run(command, input=np.stack(frames).tobytes(), check=True)
    return np.stack(frames)


def locator(tremble=0.0, speed=1):
    """Finds the face by its place, which it knows from the number of the call: frames are searched in order by one."""
    rng, count = np.random.default_rng(0), iter(range(1000))

    def locate(pixels):
        place = corner(next(count), speed)
        points = place + SIDE * TEMPLATE + rng.normal(0, tremble, (5, 2))
        return [Located(Face(np.concatenate([place, place + SIDE]), points, 0.9), None)]

    return locate


def restore(source, output, locate, function=lambda image, mask: image, options=None):
    advanced = []
    counts = video.restore_file(
        source,
        output,
        Restorer(SIZE, function, MODEL),
        locate,
        batch_size=4,
        options=options or Options(),
        advance=lambda: advanced.append(1),
    )
    assert len(advanced) == counts[0]
    return counts


def streams(path):
    """What ffmpeg says of a file's streams."""
    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", path], capture_output=True, text=True, check=False)
    return [line.strip() for line in said.stderr.splitlines() if "Stream #" in line]


@pytest.fixture
def in_turn(monkeypatch):
    """One thread searches, so that a locator can count the frames."""
    monkeypatch.setattr(video.os, "cpu_count", lambda: 1)


@pytest.mark.parametrize(("shape", "suffix"), [((96, 128), ".mp4"), ((95, 127), ".mov"), ((96, 128), ".avi")])
def test_frames_rate_size_and_sound_are_kept(tmp_path, in_turn, shape, suffix):
    source = tmp_path / f"in{suffix}"
    frames = record(source, shape)
    output = tmp_path / "out" / f"in{film.output_suffix(source)}"
    assert output.suffix == (".mkv" if suffix == ".avi" else suffix)
    assert restore(source, output, locator()) == (FRAMES, 1)
    result = film.probe(output)
    assert result.shape == shape and str(result.rate) == "30000/1001"
    shown = np.stack(list(result.frames())).astype(int)
    assert len(shown) == FRAMES
    assert np.abs(shown - frames).mean() < 4  # the network returns its input
    (sound,), (before,) = ([line for line in streams(path) if "Audio" in line] for path in (output, source))
    assert sound.split("Audio: ")[1].split()[0] == before.split("Audio: ")[1].split()[0]
    report = json.loads(output.with_suffix(".json").read_text())
    assert report["frames"] == FRAMES and report["rate"] == "30000/1001" and report["model"]["fingerprint"] == "c0ffee"
    face = {"number": 1, "first_frame": 0, "last_frame": FRAMES - 1, "frames": FRAMES, "taken_back": 1.0}
    assert report["faces"] == [face]


def packets(path, stream):
    """When each packet of a stream shows, in seconds."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-i",
        path,
        "-map",
        f"0:{stream}:0",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "-",
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (unit,) = [line.split()[-1].split("/") for line in lines if line.startswith("#tb")]
    return np.sort([int(line.split(",")[2]) for line in lines if line[0] == "0"]) * int(unit[0]) / int(unit[1])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_each_frame_of_an_uneven_rate_shows_when_it_did(tmp_path, in_turn, suffix):
    """Every second frame is left out of the second half, and the first frame comes 0.2 s after the sound."""
    uneven = "select='lt(n,12)+not(mod(n,2))',setpts=PTS+0.2/TB"
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    record(source, filters=uneven)
    assert restore(source, output, locator(speed=0)) == (18, 1)
    before, after = packets(source, "v"), packets(output, "v")
    assert np.ptp(np.diff(before)) > 0.03 and before[0] > 0.15
    np.testing.assert_allclose(after, before, atol=2e-3)
    np.testing.assert_allclose(packets(output, "a"), packets(source, "a"), atol=2e-3)


def shown_at(path):
    """When each decoded frame shows, in seconds, as ffmpeg's `showinfo` says."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-map", "0:V:0", "-fps_mode", "passthrough"]
    command += ["-vf", "showinfo", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return np.array([float(word) for word in re.findall(r" pts_time:([\d.]+)", said)])


def copy(source, target, *options, before=()):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *before, "-i", source, *options, target]
    subprocess.run(command, check=True)


def test_frames_that_an_edit_list_hides_take_no_time(tmp_path, in_turn):
    """As phones trim: packets from the key frame on are kept, and those before the cut are not shown."""
    record(tmp_path / "long.mp4", filters="select='lt(n,12)+not(mod(n,2))'")
    copy(tmp_path / "long.mp4", tmp_path / "in.mp4", "-c", "copy", before=("-ss", "0.25"))
    before = shown_at(tmp_path / "in.mp4")
    assert len(packets(tmp_path / "in.mp4", "v")) > len(before) + 5 and np.ptp(np.diff(before)) > 0.03
    assert restore(tmp_path / "in.mp4", tmp_path / "out.mp4", locator(speed=0)) == (len(before), 1)
    np.testing.assert_allclose(shown_at(tmp_path / "out.mp4"), before, atol=2e-3)
    sounds = [packets(tmp_path / name, "a") for name in ("out.mp4", "in.mp4")]
    np.testing.assert_allclose(sounds[0], sounds[1][-len(sounds[0]) :], atol=2e-3)


def test_packets_of_vp8_that_show_nothing_take_no_time(tmp_path):
    record(tmp_path / "in.mp4", sound=False, filters="select='lt(n,12)+not(mod(n,2))'")
    options = ["-fps_mode", "passthrough", "-c:v", "libvpx", "-b:v", "200k", "-auto-alt-ref", "1"]
    options += ["-lag-in-frames", "10", "-passlogfile", tmp_path / "log"]
    copy(tmp_path / "in.mp4", "-", *options, "-pass", "1", "-f", "null")
    copy(tmp_path / "in.mp4", tmp_path / "in.webm", *options, "-pass", "2")
    assert len(packets(tmp_path / "in.webm", "v")) > 18
    found = film.probe(tmp_path / "in.webm")
    assert len(list(found.frames())) == 18
    np.testing.assert_allclose(np.array(found.times) * 1e-6, shown_at(tmp_path / "in.webm"), atol=2e-3)


@pytest.mark.parametrize(
    ("matrix", "known"),
    [("bt709", "tv:bt709:bt709:iec61966-2-1"), ("smpte170m", "pc:smpte170m:smpte170m:bt709")],
)
def test_colours_and_their_tags_are_kept(tmp_path, in_turn, matrix, known):
    names = ("range", "colorspace", "color_primaries", "color_trc")
    params = ":".join(f"{name}={value}" for name, value in zip(names, known.split(":"), strict=True))
    reach = known.split(":")[0]
    filters = f"scale=out_color_matrix={matrix}:out_range={reach},format=yuv420p,setparams={params},setsar=4/3"
    frames = record(tmp_path / "in.mp4", filters=filters)
    seen = []

    def locate(pixels):
        seen.append(pixels)
        return locator()(pixels)

    restore(tmp_path / "in.mp4", tmp_path / "out.mp4", locate)
    # What is shown to the network has the colours that were recorded, by the file's own matrix and range.
    assert np.abs(seen[0].astype(int) - frames[0]).mean(axis=(0, 1)).max() < 3
    (before,), (after,) = (
        [line for line in streams(tmp_path / name) if "Video" in line] for name in ("in.mp4", "out.mp4")
    )
    tags = before.split("Video: ")[1].split("), ")[1]
    assert tags.startswith((f"yuv420p({reach}, {matrix}/", f"yuvj420p({reach}, {matrix}/"))
    assert after.split("Video: ")[1].split("), ")[1] == tags and "SAR 4:3" in after


def test_enlarged_and_without_sound(tmp_path, in_turn):
    record(tmp_path / "in.mp4", sound=False)
    restore(tmp_path / "in.mp4", tmp_path / "out.mp4", locator(), options=Options(times=2))
    result = film.probe(tmp_path / "out.mp4")
    assert result.shape == (192, 256) and len(list(result.frames())) == FRAMES
    assert len(streams(tmp_path / "out.mp4")) == 1


def flicker(path):
    """How much a face at rest changes from frame to frame."""
    x, y = corner(0).astype(int) + SIDE // 4
    shown = np.stack(list(film.probe(path).frames())).astype(float)
    return np.abs(np.diff(shown[:, y : y + SIDE // 2, x : x + SIDE // 2], axis=0)).mean()


def test_a_face_does_not_flicker(tmp_path, in_turn, monkeypatch):
    record(tmp_path / "in.mp4", speed=0)
    rng = np.random.default_rng(1)

    def restless(image, mask):  # sharpens, and differs a little each time
        sharp = image + 0.8 * (image - np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in image]))
        return sharp + rng.normal(0, 0.02, image.shape).astype(np.float32)

    restore(tmp_path / "in.mp4", tmp_path / "steady.mp4", locator(0.5, speed=0), restless)
    monkeypatch.setattr(video._Steady, "__call__", lambda self, track, restored: restored)
    monkeypatch.setattr("faceflax.restoration.track.OneEuro.__call__", lambda self, points, unit: points)
    restore(tmp_path / "in.mp4", tmp_path / "restless.mp4", locator(0.5, speed=0), restless)
    steady, without = (flicker(tmp_path / f"{name}.mp4") for name in ("steady", "restless"))
    assert steady < 0.75 * without


def test_what_is_taken_back_does_not_jump_from_frame_to_frame():
    steady, track = video._Steady(), mock.Mock(number=1)
    shares = [steady.spare(track, float(number % 2)) for number in range(20)]
    assert np.abs(np.diff(shares)).max() <= 0.25 and 0.3 < shares[-1] < 0.7
    assert steady.taken_back(1) == pytest.approx(np.mean(shares))
    steady.forget_all_but([])
    assert steady.spare(track, 1.0) == 1


@pytest.mark.parametrize("data", [b"", b"hello", "cut"])
def test_what_is_no_video_leaves_nothing(tmp_path, in_turn, data):
    source = tmp_path / "in.mp4"
    if data == "cut":
        record(source)
        data = source.read_bytes()[:2000]
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"in\.mp4: "):
        restore(source, tmp_path / "out" / "in.mp4", locator())
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


@pytest.mark.parametrize("frames", [60, 240])
def test_memory_does_not_grow_with_the_film(tmp_path, monkeypatch, frames):
    """Each face is there for ten frames; crops and meshes are held of a bounded number of them."""
    crops, meshes = weakref.WeakSet(), weakref.WeakSet()
    cut, most, shown = subjects.cut, [], iter(range(frames))

    class Long(film.Film):
        def frames(self):
            for number in range(frames):
                yield np.full((96, 128, 3), number % 256, np.uint8)

    def kept(*arguments):
        crop = cut(*arguments)
        crops.add(crop)
        return crop

    def locate(pixels):
        number = next(shown)
        place = np.array([80.0 * (number // 10 % 2), 20.0])
        mesh = _Mesh(np.hstack([place + SIDE * np.random.default_rng(0).random((468, 2)), np.zeros((468, 1))]))
        meshes.add(mesh)
        most.append((len(crops), len(meshes)))
        return [Located(Face(np.concatenate([place, place + SIDE]), place + SIDE * TEMPLATE, 0.9), mesh)]

    @contextlib.contextmanager
    def nowhere(*_):
        yield mock.Mock()

    monkeypatch.setattr(video.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(video, "_MOST_PIXELS", 12 * 96 * 128)
    monkeypatch.setattr(film, "probe", lambda path: Long(path, (96, 128), fractions.Fraction(25)))
    monkeypatch.setattr(film, "writing", nowhere)
    monkeypatch.setattr(subjects, "cut", kept)
    count, num_faces = restore(tmp_path / "in.mp4", tmp_path / "out.mp4", locate)
    assert (count, num_faces) == (frames, frames // 10)
    gc.collect()
    assert max(number for number, _ in most) <= 60 and max(number for _, number in most) <= 30
    assert len(meshes) <= 2 and not crops


class _Mesh:
    angles = (0.0, 0.0, 0.0)

    def __init__(self, points):
        self.points = points


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


def test_a_video_without_a_face_leaves_nothing(tmp_path, in_turn):
    record(tmp_path / "in.mp4")
    with pytest.raises(UserError, match="no face found in any of its 24 frames"):
        restore(tmp_path / "in.mp4", tmp_path / "out" / "in.mp4", lambda pixels: [])
    assert not list((tmp_path / "out").iterdir())


def test_the_command_takes_videos_and_photographs(tmp_path, in_turn, monkeypatch, capsys):
    record(tmp_path / "film.mp4")
    monkeypatch.setattr(subjects, "load_locator", locator)
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
    assert not list((tmp_path / "out").iterdir())
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
