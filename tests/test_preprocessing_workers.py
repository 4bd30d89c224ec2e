"""The processes of `faceflax normalize`: one that dies costs one source, and none is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from faceflax.preprocessing import chain, normalising, workers
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.normalising import Outcome
from tests import normalizing
from tests.normalizing import FACES, Here


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    normalizing.use_networks(monkeypatch)


class _Unfinished(Future):
    """Work that nobody may wait for."""

    def result(self, timeout=None):
        assert self.done(), "others could be given work"
        return super().result(timeout)


class _Patient:
    """A process whose first work, of all processes', takes until the last of all is submitted."""

    first = None

    def __init__(self, *_):
        pass

    def shutdown(self, **_):
        return None

    def submit(self, function, work, settings):
        if _Patient.first is None:
            _Patient.first = _Unfinished()
            return self.first
        future = Future()
        future.set_result(Outcome(failure=work.source))
        if work.source == "19.png":
            self.first.set_result(Outcome(failure="0"))
        return future


def test_a_long_video_does_not_let_the_other_processes_wait(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", _Patient)
    monkeypatch.setattr(_Patient, "first", None)
    works = [normalising.Work(f"{number}.png", tmp_path / f"{number}.png") for number in range(20)]
    outcomes = [outcome.failure.replace(".png", "") for outcome in workers.run_all(works, chain.Settings(), 2)]
    assert sorted(outcomes, key=int) == [str(number) for number in range(20)] and outcomes.index("0") > 10


def _die_once(work, settings):
    if work.source == "3.png" and not work.output.exists():
        work.output.touch()
        os._exit(1)
    return Outcome(failure=work.source)


def test_what_a_dead_process_had_is_done_again(monkeypatch, tmp_path):
    assert sorted(_run_ten(_die_once, monkeypatch, tmp_path)) == list("0123456789")


def _die_of_one(work, settings):
    if work.source == "3.png":
        os._exit(1)
    time.sleep(0.05)
    return Outcome(failure=work.source)


@pytest.mark.parametrize("count", [1, 2])
def test_who_kills_a_process_is_named_alone(monkeypatch, tmp_path, count):
    died = "3: the process that read it died; if memory was short, make it smaller or pass --workers 1"
    assert sorted(_run_ten(_die_of_one, monkeypatch, tmp_path, count)) == sorted([died, *"012456789"])


@pytest.mark.parametrize("count", [1, 2])
def test_a_process_that_died_before_its_work_is_replaced(monkeypatch, tmp_path, count):
    made = []

    class Dead(Here):
        def __init__(self, *_):
            made.append(self)
            self.is_dead = len(made) == 1

        def submit(self, function, work, settings):
            if self.is_dead:
                raise BrokenProcessPool
            return super().submit(function, work, settings)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Dead)
    monkeypatch.setattr(workers, "_normalise", lambda work, settings: Outcome(failure=work.source))
    works = [normalising.Work(f"{number}.png", tmp_path / f"{number}.png") for number in range(3)]
    assert sorted(each.failure[0] for each in workers.run_all(works, chain.Settings(), count)) == list("012")
    assert len(made) == count + 1


def _run_ten(normalise, monkeypatch, folder, count=2):
    """What processes say of the sources "0" to "9"."""
    monkeypatch.setattr(workers, "_normalise", normalise)
    monkeypatch.setattr(workers, "_start_process", _start_nothing)
    works = [normalising.Work(f"{number}.png", folder / f"{number}.png") for number in range(10)]
    return [outcome.failure.replace(".png", "") for outcome in workers.run_all(works, chain.Settings(), count)]


def _start_nothing(settings, watched):
    pass


class _Dying:
    """A process that dies in the middle of a capture, whatever it is given."""

    captures = 0

    def __init__(self, *_):
        pass

    def shutdown(self, **_):
        return None

    def submit(self, function, work, settings):
        _Dying.captures += 1
        write(work.output.with_suffix("") / "000000.png", Photograph(FACES[_Dying.captures], None))
        broken = Future()
        broken.set_exception(BrokenProcessPool())
        return broken


def test_what_a_camera_showed_before_its_process_died_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", _Dying)
    monkeypatch.setattr(_Dying, "captures", 0)
    work = normalising.Work("0", tmp_path / "camera0.png", limit=9)
    (outcome,) = workers.run_all([work], chain.Settings(), 1)
    assert outcome.failure.startswith("0: the process that read it died") and _Dying.captures == 1
    assert (read(tmp_path / "camera0" / "000000.png").pixels == FACES[1]).all()


@contextlib.contextmanager
def _normalizing(folder):
    """The command at work on two long videos, as a process and its two workers."""
    for name in ("a", "b"):
        normalizing.video(folder / f"{name}.avi", 1, times=1000)
    program = "from faceflax.cli import main; main()"
    arguments = [folder / "a.avi", folder / "b.avi", "--out", folder / "out", "--size", "64", "--workers", "2"]
    command = [sys.executable, "-c", program, "normalize", *map(str, arguments)]
    process, at_work = subprocess.Popen(command, stderr=subprocess.PIPE, text=True), []
    try:
        end = time.monotonic() + 60
        while any(not list((folder / "out" / name).glob("0*.png")) for name in ("a", "b")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        below = psutil.Process(process.pid).children()
        at_work = [each for each in below if any("spawn_main" in word for word in each.cmdline())]
        assert len(at_work) == 2
        yield process, at_work
    finally:
        process.kill()
        for each in at_work:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()


def _have_ended(processes):
    """Within five seconds; a dead parent's children stay as zombies where nobody waits for them."""
    left = psutil.wait_procs(processes, timeout=0.1)[1]
    end = time.monotonic() + 5
    while time.monotonic() < end:
        left = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        if not left:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "interrupted: 0 of 2 sources are done\n"),
        (signal.SIGTERM, 143, "terminated: 0 of 2 sources are done\n"),
        (signal.SIGKILL, -signal.SIGKILL, None),  # which lets nobody say anything
    ],
)
def test_no_process_is_left_behind(tmp_path, number, status, said):
    """The signal reaches the command's own process alone, as from `kill` and from a service manager."""
    with _normalizing(tmp_path) as (process, at_work):
        process.send_signal(number)
        process.wait(10)
        assert process.returncode == status and _have_ended(at_work)
        if said is not None:
            assert process.stderr.read() == said
        assert number == signal.SIGKILL or not list((tmp_path / "out").rglob(".*"))
