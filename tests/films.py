"""For tests of videos: films of a face that moves over a still background, and what ffmpeg says of them."""

import subprocess

import imageio_ffmpeg
import numpy as np

from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.restoration import video
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


def copy(source, target, *options, before=()):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *before, "-i", source, *options, target]
    subprocess.run(command, check=True)
