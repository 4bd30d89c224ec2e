"""A new result never lies beside the report or the comparison of an earlier run, and nothing else is removed."""

import json
import os

import pytest

from faceflax import files
from faceflax.errors import UserError
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.inputs import Job
from faceflax.restoration import aligned, photographs, results
from faceflax.restoration.photographs import Options
from tests import faces
from tests.known_faces import CORNERS, SIZE, always, jobs, run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def compared(tmp_path):
    """The job of a photograph that was restored with its comparison."""
    (job,) = jobs(tmp_path, 1)
    run([job], always(*CORNERS), options=Options(is_compared=True))
    assert names(tmp_path / "out") == ["00.compare.png", "00.json", "00.png"]
    return job


def restore_crops(made):
    aligned.restore_files(
        made,
        lambda image, mask: 1 - image,
        size=SIZE,
        batch_size=2,
        on_failure=pytest.fail,
        advance=lambda: None,
    )


def test_a_run_without_a_report_removes_the_earlier_one(compared):
    before = read(compared.output).pixels
    restore_crops([compared])
    assert names(compared.output.parent) == ["00.png"] and (read(compared.output).pixels != before).any()


def test_a_comparison_does_not_outlive_a_run_without_it(compared):
    run([compared], always(*CORNERS))
    assert names(compared.output.parent) == ["00.json", "00.png"]
    assert json.loads(results.report_path(compared.output).read_text())["comparison"] is None


def test_an_end_between_result_and_report_leaves_no_old_report(compared, monkeypatch):
    def end(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr(photographs, "write_json", end)
    _, failures = run([compared], always(*CORNERS))
    assert len(failures) == 1 and names(compared.output.parent) == ["00.png"]


def test_a_result_that_cannot_be_written_keeps_the_earlier_one_whole(compared, monkeypatch):
    def fail(path, data):
        raise OSError(5, "Input/output error")

    before = {path.name: path.read_bytes() for path in compared.output.parent.iterdir()}
    monkeypatch.setattr(results.Path, "write_bytes", fail)
    with pytest.raises(UserError, match="cannot write"):
        run([compared], always(*CORNERS))
    assert {path.name: path.read_bytes() for path in compared.output.parent.iterdir()} == before


def test_a_result_that_cannot_be_replaced_stays_without_its_report(compared, monkeypatch):
    def fail(path, target):
        raise OSError(5, "Input/output error")

    before = compared.output.read_bytes()
    monkeypatch.setattr(results.Path, "replace", fail)
    with pytest.raises(UserError, match="cannot write"):
        run([compared], always(*CORNERS), lambda image, mask: 1 - image)
    assert names(compared.output.parent) == ["00.png"] and compared.output.read_bytes() == before


def test_what_no_report_of_ours_names_stays(tmp_path):
    (job,) = jobs(tmp_path, 1)
    job.output.parent.mkdir()
    kept = {"00.json": b'{"result": "00.png"}', "00.compare.png": b"mine"}
    for name, data in kept.items():
        (job.output.parent / name).write_bytes(data)
    restore_crops([job])
    assert {name: (job.output.parent / name).read_bytes() for name in kept} == kept


def test_another_photographs_result_is_no_comparison(compared):
    source = compared.source.with_name("00.compare.png")
    write(source, Photograph(faces.background(110, 120, seed=7), None))
    other = type(compared)(source, results.comparison_path(compared.output), None)
    for made in ([other, compared], [compared, other]):
        restore_crops(made)
        assert names(compared.output.parent) == ["00.compare.png", "00.png"]
        run([compared], always(*CORNERS), options=Options(is_compared=True))
    assert os.path.realpath(other.output) in results.files_of([other])


ODD = os.fsdecode(b"caf\xe9\xff")


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        (ODD, r"caf\xe9\xff"),
        (r"caf\xe9", r"caf\x5cxe9"),
        (r"a\b", r"a\b"),
        ("Zo\u00eb \U0001f480", "Zo\u00eb \U0001f480"),
    ],
)
def test_every_name_is_spelt_so_that_all_parsers_read_it_and_comes_back(tmp_path, name, spelt):
    files.write_json(tmp_path / "a.json", {"path": name, "list": [{name: 1.5}]})
    text = (tmp_path / "a.json").read_bytes()
    assert json.loads(text) == {"path": spelt, "list": [{spelt: 1.5}]}
    assert files.parse_json(text) == {"path": name, "list": [{name: 1.5}]}


def test_halves_of_letters_are_no_part_of_json(tmp_path):
    files.write_json(tmp_path / "a.json", "\ud800")
    json.loads((tmp_path / "a.json").read_bytes()).encode()


def test_the_report_on_a_name_that_is_not_utf8_goes_with_its_comparison(tmp_path):
    (job,) = jobs(tmp_path, 1)
    job = Job(job.source.rename(job.source.with_stem(ODD)), job.output.with_stem(ODD), None)
    run([job], always(*CORNERS), options=Options(is_compared=True))
    report = json.loads(results.report_path(job.output).read_bytes())
    assert report["source"] == f"{job.source.parent}/caf\\xe9\\xff.png" and report["comparison"].endswith(
        r"\xff.compare.png"
    )
    run([job], always(*CORNERS))
    assert names(tmp_path / "out") == [f"{ODD}.json", f"{ODD}.png"]


def test_a_videos_earlier_report_goes(tmp_path):
    report = {"faceflax": "1", "result": "elsewhere/film.mp4"}
    (tmp_path / "film.json").write_text(json.dumps(report))
    results.forget(tmp_path / "other.mp4")
    assert names(tmp_path) == ["film.json"]
    results.forget(tmp_path / "film.mp4")
    assert not names(tmp_path)
