"""Which files folders, patterns and masks stand for, and what their results are called."""

import argparse
import contextlib
import os
from pathlib import Path

from faceflax.preprocessing import acquire, command, inputs
from faceflax.preprocessing.images import Photograph, write
from tests.normalizing import FACES


def test_patterns_stand_for_files(tmp_path):
    for name in ("a.png", "sub/b.png", "sub/c.jpg", "[d].png"):
        write(tmp_path / name, Photograph(FACES[0], None))
    write(tmp_path / ".cache" / "e.png", Photograph(FACES[0], None))
    for name in ("loop", "again"):  # of which a pattern would follow each into the other, without end
        (tmp_path / name).symlink_to(tmp_path)
    found = [tmp_path / name for name in ("[d].png", "a.png", "sub/b.png")]
    assert acquire.expand(f"{tmp_path}/**/*.png") == found and acquire.expand("x*") == []
    assert acquire.expand(f"{tmp_path}/*/*.png") == found[2:]
    assert acquire.expand(f"{tmp_path}/.c*/*.png") == [tmp_path / ".cache" / "e.png"]
    assert acquire.expand(f"{tmp_path}/a**[g]") == [tmp_path / "a.png"]
    write(tmp_path / "[2024]" / "f.png", Photograph(FACES[0], None))
    assert acquire.expand(f"{tmp_path}/[2024]/*.png") == [tmp_path / "[2024]" / "f.png"]
    assert not acquire.is_pattern(f"{tmp_path}/[2024]/g.png")
    with contextlib.chdir(tmp_path):
        assert acquire.expand("s*/b.*") == [Path("sub/b.png")] and acquire.expand("[2024]/?.png") == [
            Path("[2024]/f.png")
        ]
    assert acquire.is_pattern(f"{tmp_path}/*") and not acquire.is_pattern(f"{tmp_path}/[d].png")


def test_a_pattern_takes_what_a_folder_gives(tmp_path):
    for name in (
        "a.png",
        "sub/b.png",
        ".c.png",
        "notes.txt",
        "out/d.png",
        "out/sub/e.png",
        "masks/a.png",
        "masks/b.png",
        "masks/sub/b.png",
    ):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    os.mkfifo(tmp_path / "in" / "pipe.png")
    for given in ("*", "**", "**/*", "**/*.png", ""):
        jobs, failures = inputs.plan([tmp_path / "in" / given], tmp_path / "in" / "out", tmp_path / "in" / "masks")
        sources = {job.source.relative_to(tmp_path / "in").as_posix() for job in jobs}
        assert sources == {"a.png", "sub/b.png"}
    jobs, failures = inputs.plan([tmp_path / "in" / "*.txt"], tmp_path / "in" / "out", None)
    assert not jobs and "no image fits it" in failures[0]


def test_a_name_that_another_source_may_write_is_refused(tmp_path):
    for name in ("group.jpg", "group+2.jpg", "film/000000.jpg", "alone+2.jpg", "film.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    arguments = argparse.Namespace(inputs=[str(tmp_path / "in")], every=1, frames=None)
    works, failures = command._plan(arguments, tmp_path / "out")
    assert sorted(Path(work.source).name for work in works) == ["alone+2.jpg", "film.mp4", "group.jpg"]
    assert len(failures) == 2 and all("may be a face of another source too" in failure for failure in failures)


def test_a_mask_beside_photographs_is_no_photograph(tmp_path):
    for name in ("a.png", "holes.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    for given in (tmp_path / "in", tmp_path / "in" / "*"):
        jobs, failures = inputs.plan([given], tmp_path / "out", tmp_path / "in" / "holes.png")
        assert [job.source.name for job in jobs] == ["a.png"] and not failures
    (tmp_path / "link.png").symlink_to(tmp_path / "in" / "holes.png")
    jobs, failures = inputs.plan([tmp_path / "in"], tmp_path / "out", tmp_path / "link.png")
    assert [job.source.name for job in jobs] == ["a.png"] and not failures


def test_a_folder_below_the_results_is_no_input(tmp_path):
    below = tmp_path / "out" / "sub"
    below.mkdir(parents=True)
    (below / "a.png").touch()
    for given, sentence in ((below, "lies in --out, where pictures are results"), (tmp_path / "out", "the next time")):
        jobs, (failure,) = inputs.plan([given], tmp_path / "out", None)
        assert not jobs and failure.startswith(f"{given}: ") and sentence in failure
    (tmp_path / "outer").mkdir()  # of which "out" is a beginning
    (tmp_path / "outer" / "a.png").touch()
    assert len(inputs.plan([tmp_path / "outer"], tmp_path / "out", None)[0]) == 1
