"""What is refused without a network or a database is refused before either is imported, which takes seconds."""

import json
import subprocess
import sys

from faceflax.recognition import place
from tests import tiny

SLOW = ("jax", "pymilvus", "milvus_lite", "tensorflow")

PROGRAM = f"""
import contextlib, io, json, sys
from faceflax import cli
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.main(line.split())
        except SystemExit as end:
            print(json.dumps([end.code, said.getvalue(), [name for name in {SLOW} if name in sys.modules]]))
"""

REFUSED = [
    ("gallery list --gallery absent.db", "there is no gallery absent.db"),
    ("gallery check --gallery none", "none is no gallery"),
    ("gallery show --gallery http://me@host", "holds more than an address"),
    ("gallery export --gallery host:1 --out new", "looks like a server's address"),
    ("gallery show --gallery held.db --where site", "is not KEY=VALUE"),
    ("gallery update --gallery held.db --set site", "is not KEY=VALUE"),
    ("gallery delete --gallery held.db", "say who is to be deleted"),
    ("gallery export --gallery held.db --out held.db/new", "lies in the gallery itself"),
    ("identify none --gallery absent.db", "there is no gallery absent.db"),
    ("identify none --gallery held.db --threshold 7", "is no score"),
    ("identify none --gallery held.db --where site", "is not KEY=VALUE"),
    ("identify empty --gallery held.db", "holds no images"),
    ("verify one.jpg two.jpg --threshold nan", "is no score"),
    ("verify one.jpg", "needs two photographs"),
    ("verify one.jpg two.jpg --batch-size 0", "is not a number of photographs"),
    ("enroll none --gallery none", "none is no gallery"),
    ("enroll none --gallery new.db --set site", "is not KEY=VALUE"),
    ("enroll empty --gallery new.db", "holds no images"),
    ("calibrate absent", "is not a folder"),
    ("calibrate none", "fewer than two people"),
    ("calibrate none --far 7", "is no share"),
    ("reconstruct --gallery absent.db --name Ann", "there is no gallery absent.db"),
    ("reconstruct --gallery held.db --name Ann --out a.jpg", "must end in .png"),
]


def test_cheap_checks_come_first(tmp_path):
    """In a folder with a gallery, a folder that is none, which shows one person, and an empty one."""
    (tmp_path / "none" / "photographs").mkdir(parents=True)
    (tmp_path / "none" / "photographs" / "1.jpg").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "held.db" / place.LAYOUT).mkdir(parents=True)
    commands = "\n".join(command for command, _ in REFUSED)
    options = {"cwd": tmp_path, "env": tiny.environment(PYTHONPATH=tiny.ROOT), "input": commands}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, **options)
    ended = map(json.loads, done.stdout.splitlines())
    for (command, sentence), (status, said, loaded) in zip(REFUSED, ended, strict=True):
        assert (status, loaded) == (1, []) and sentence in said, command
    assert not (tmp_path / "new.db").exists()
