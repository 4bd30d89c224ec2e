"""Ctrl-C while a folder is restored, in a process of its own with a network and faces that are known."""

import signal
import subprocess
import sys
import time

from tests.test_restoration_photographs import CORNERS, SIZE, jobs

# Each photograph takes a quarter of a second to search; the write of the fifth takes far too long.
_PROGRAM = f"""
import sys, time
from faceflax import cli
from faceflax.preprocessing import images
from faceflax.restoration import restorers, subjects
from faceflax.restoration.restorers import Restorer
from tests.test_restoration_photographs import MODEL, located

def locate(pixels):
    time.sleep(0.25)
    return located(*{CORNERS})

write = images.write
def slow(path, photograph):
    if path.name == "04.png":
        with images.atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            print("writing", flush=True)
            time.sleep(30)
    write(path, photograph)

images.write = slow
subjects.load_locator = lambda: locate
restorers.load = lambda *_: Restorer({SIZE}, lambda image, mask: image, MODEL)
cli.main(["restore", sys.argv[1], "--out", sys.argv[2]])
"""


def test_one_ctrl_c_ends_soon_and_a_second_does_no_harm(tmp_path):
    jobs(tmp_path, 60)
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "in"), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "writing" not in process.stdout.readline():
            pass
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert time.perf_counter() - start < 10  # about 2 on a machine at rest
    assert process.returncode == 130
    lines = [line for line in said.splitlines() if "restoring" not in line and line.strip()]
    assert len(lines) == 1 and lines[0].startswith("interrupted: ") and lines[0].endswith(" of 60 photographs are done")
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made and len(made) < 60 and not [name for name in made if name.startswith(".")]
    assert int(lines[0].split()[1]) <= len([name for name in made if name.endswith(".png")])
