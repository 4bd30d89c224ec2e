"""`faceflax normalize` as tests call it, and pictures and videos for it."""

import os
from concurrent.futures import Future
from pathlib import Path

import cv2
import pytest

from faceflax import cli
from faceflax.preprocessing import chain
from faceflax.preprocessing import workers as processes
from tests import faces
from tests.faces import placed

FACES = faces.load(6)


def use_networks(monkeypatch):
    """From the user's own cache, for the processes that are started too."""
    faces.published(lambda: chain.load_chain(chain.Settings()))
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))


class Here:
    """A process that is this one, so that tests may change what it does."""

    def __init__(self, count, context, start, arguments):
        processes._start(arguments[0])

    def shutdown(self, **_):
        return None

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def normalize(*arguments, workers=None):
    """The command's status; it does its work in this process unless a number of others is given."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        if workers is None:
            patch.setattr(processes, "ProcessPoolExecutor", Here)
        cli.main(["normalize", *map(str, arguments), "--workers", str(workers or 1)])
    return caught.value.code


def two_faces():
    return faces.scene([(FACES[0], placed(130, 10, (100, 110))), (FACES[1], placed(90, 0, (260, 110)))], 220, 340)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def video(path, count=6, times=1):
    """A face that moves three pixels a frame, over and over again."""
    frames = [faces.scene([(FACES[0], placed(120, 0, (70 + 3 * n, 80)))], 160, 160)[..., ::-1] for n in range(count)]
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 160))
    for frame in frames * times:
        writer.write(frame)
    writer.release()
