"""Ctrl-C and SIGTERM while files are restored, in a process of its own with a network and faces that are known."""

import os
import signal
import subprocess
import sys
import time

import pytest

from faceflax.restoration import interruption
from tests.known_faces import CORNERS, SIZE, jobs

SOON = 4  # seconds; 2 are promised, of a machine that has nothing else to do

# Each photograph takes a quarter of a second to search; the write of the fifth takes far too long.
_PROGRAM = f"""
import sys, time
from faceflax import cli
from faceflax.restoration import restorers, results, subjects
from faceflax.restoration.restorers import Restorer
from tests.known_faces import MODEL, located

def locate(pixels):
    time.sleep(0.25)
    return located(*{CORNERS})

write = results.write
def slow(path, photograph, taken):
    if path.name == "04.png":
        with results.atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            time.sleep(0.5)  # while those behind it are done
            print("writing", flush=True)
            time.sleep(30)
    write(path, photograph, taken)

results.write = slow
subjects.load_locator = lambda: locate
restorers.load = lambda *_: Restorer({SIZE}, lambda image, mask: image, MODEL)
cli.main(["restore", sys.argv[1], "--out", sys.argv[2]])
"""


SIGNALS = pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)


@SIGNALS
def test_one_signal_ends_soon_and_a_second_does_no_harm(tmp_path, number, status, word):
    jobs(tmp_path, 60)
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "in"), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "writing" not in process.stdout.readline():
            pass
        start = time.perf_counter()
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert time.perf_counter() - start < SOON
    assert process.returncode == status
    lines = [line for line in said.splitlines() if "restoring" not in line and line.strip()]
    assert len(lines) == 1 and lines[0].startswith(f"{word}: ") and lines[0].endswith(" of 60 photographs are done")
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made and len(made) < 60 and not [name for name in made if name.startswith(".")]
    assert int(lines[0].split()[1]) == len([name for name in made if name.endswith(".png")])


# Nobody reads what it prints, so that its main thread does not come out of `finish` nor stop what writes a file.
_STUCK = """
import os, sys, time
from faceflax import files
from faceflax.restoration import interruption

with interruption.ends_soon(), files.atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    with interruption.running([sys.executable, "-c", "import time; time.sleep(60)"]) as writer:
        os.set_blocking(1, False)
        try:
            while True:
                os.write(1, b"x")
        except BlockingIOError:
            os.set_blocking(1, True)
        try:
            print(writer.pid, file=sys.stderr, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("said")
            interruption.finish()
"""


@SIGNALS
def test_a_full_pipe_and_a_writer_of_its_own_do_not_outlive_a_signal(tmp_path, number, status, word):
    command = [sys.executable, "-c", _STUCK, str(tmp_path / "a.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        writer = int(process.stderr.readline())
        start = time.perf_counter()
        process.send_signal(number)
        assert process.wait(timeout=30) == status
        assert time.perf_counter() - start < SOON
    with pytest.raises(ProcessLookupError):
        os.kill(writer, 0)
    assert not list(tmp_path.iterdir())


_BEHIND = """
import os, signal
from faceflax.restoration import interruption

signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with interruption.ends_soon():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    interruption.finish()
"""


def test_a_job_in_the_background_heeds_sigterm_alone():
    assert subprocess.run([sys.executable, "-c", _BEHIND], timeout=30).returncode == 143


def test_signals_mean_afterwards_what_they_did_before():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with interruption.ends_soon():
        assert not set(before) & {signal.getsignal(number) for number in numbers}
    assert [signal.getsignal(number) for number in numbers] == before
