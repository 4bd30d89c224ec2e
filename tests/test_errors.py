"""How a program ends whose words nobody can take."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from faceflax.errors import run_main; run_main(lambda: print('said' * 9999, flush={flush}))"


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("place", ["full", "closed"])
def test_what_cannot_be_said_is_one_sentence(flush, place):
    reading, writing = os.pipe()
    os.close(reading)
    out = writing if place == "closed" else os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, "-c", PROGRAM.format(flush=flush)]
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(out)
    reason = "Broken pipe" if place == "closed" else "No space left on device"
    assert done.stderr == f"error: what was to be said could not be written: {reason}\n"
    assert done.returncode == 1
