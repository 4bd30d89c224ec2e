"""Videos: frames, rate, size, sound and colours are kept."""

import json
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from faceflax.restoration import film, video
from faceflax.restoration.photographs import Options
from tests.films import FRAMES, copy, locator, record, restore, streams


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
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["width"], report["height"], report["times"]) == (128, 96, 2)
