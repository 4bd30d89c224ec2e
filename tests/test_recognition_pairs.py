"""`faceflax verify` and `calibrate`: one person or two, and from which score on."""

import csv
import dataclasses
import json
import re
import shutil

import pytest

from faceflax.recognition.commands import session
from tests.commands import run
from tests.crowd import KNOWN, json_lines

pytestmark = pytest.mark.usefixtures("invented")


def write_pairs(path, pairs):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_x", "file_y", "note"), *((*pair, "x") for pair in pairs)])
    return path


def test_pairs_are_compared_and_no_line_is_dropped(tmp_path, people, capsys, monkeypatch):
    broken = tmp_path / "broken.png"
    broken.write_text("not an image")
    files = [people / "Ann" / "0.png", people / "Ann" / "1.png", people / "Bob" / "0.png"]
    pairs = [
        (files[0], files[1]),
        (files[0], files[2]),
        (broken, files[0]),
        (files[1], tmp_path / "none.png"),
        ("", ""),
    ]
    pairs += [("people/Ann/0.png", "people/Ann/2.png"), (files[0], files[0])]
    listed = write_pairs(tmp_path / "pairs.csv", pairs)
    assert run("verify", "--pairs", listed, "--aligned", "--json") == 1
    lines = json_lines(capsys)
    assert [(line["file_x"], line["file_y"]) for line in lines] == [tuple(map(str, pair)) for pair in pairs]
    assert [line["same"] for line in lines] == [True, False, None, None, None, True, True]
    assert all(("error" in line) == (line["score"] is None) for line in lines)
    assert lines[6]["score"] == pytest.approx(1, abs=1e-5) and lines[0]["false_accept_rate"] == 0.001
    assert lines[0]["measured_on"] == "invented faces"
    assert "broken.png" in lines[2]["error"] and "none.png" in lines[3]["error"]
    assert lines[4]["error"] == "--pairs: line 6 lacks the name of a file; fill in file_x and file_y"


def test_a_line_that_says_more_than_a_pair_is_no_pair(tmp_path, people, capsys):
    pair = "people/Ann/0.png,people/Ann/1.png"
    over = '"' + "people/Ann/0.png,\n" * 99 + '",people/Ann/1.png'
    lines = ["file_x,file_y", f"{pair},people/Bob/0.png", pair, "", over, pair]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    assert run("verify", "--pairs", tmp_path / "pairs.csv", "--aligned", "--json") == 1
    said = capsys.readouterr()
    sentences = [
        "--pairs: line 2 has 3 columns, and the first line names 2; quote what has a comma in it",
        "--pairs: line 5 goes on in the next line within quotes; close them",
    ]
    assert said.err == "".join(f"error: {sentence}\n" for sentence in sentences)
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [line["same"] for line in found] == [None, True, None, True]
    assert [line.get("error") for line in found] == [sentences[0], None, sentences[1], None]


def test_an_unclosed_quote_is_found_where_it_begins(tmp_path, people, capsys):
    pair = "people/Ann/0.png,people/Ann/1.png"
    (tmp_path / "pairs.csv").write_text("\n".join(["file_x,file_y", pair, "", f'"{pair}', pair, pair]))
    assert run("verify", "--pairs", tmp_path / "pairs.csv", "--aligned", "--json") == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(
        f"error: --pairs {tmp_path / 'pairs.csv'}: what begins in line 4 is no CSV ("
    )
    (tmp_path / "groups.csv").write_text("person,group\nAnn,tall\nBob,short,old\n")
    words = ("--aligned", "--groups", tmp_path / "groups.csv", "--out", tmp_path / "c.json")
    assert run("calibrate", people, *words) == 1
    assert capsys.readouterr().err.startswith("error: --groups: line 3 has 3 columns, and the first line names 2")


def test_two_photographs_are_compared_in_words(people, capsys):
    assert run("verify", people / "Ann" / "0.png", people / "Ann" / "1.png", "--aligned") == 0
    said, measured = capsys.readouterr().out.splitlines()
    assert re.search(r": the same person \(score 0\.9\d{3}; threshold 0\.7000\)$", said)
    assert measured == (
        "threshold 0.7000: 1 of 1,000 pairs of different people pass, 90 of 100 pairs of one person; "
        "measured on invented faces"
    )
    assert run("verify", people / "Ann" / "0.png", people / "Bob" / "1.png", "--aligned", "--threshold", "0.99") == 0
    (said,) = capsys.readouterr().out.splitlines()  # nothing was measured at a threshold of one's own
    assert ": different people (score " in said and said.endswith("; threshold 0.9900)")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,2\n", "its first line must name the columns {columns}"),
        (b"\xff\xfe\x00", "is no CSV file in UTF-8; write one with the columns {columns}"),
        (b"\x89PNG\r\n\x1a\n", "is no CSV file in UTF-8; write one with the columns {columns}"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path, people, capsys, content, sentence):
    listed = tmp_path / "listed.csv"
    if content is not None:
        listed.write_bytes(content)
    for command, columns in (
        (("verify", "--pairs"), "file_x,file_y"),
        (("calibrate", people, "--groups"), "person,group"),
    ):
        assert run(*command, listed, "--aligned") == 1
        assert capsys.readouterr().err == f"error: {command[-1]} {listed}: {sentence.format(columns=columns)}\n"


def test_a_list_of_no_pairs_is_one_sentence(tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("file_x,file_y\n")
    assert run("verify", "--pairs", tmp_path / "pairs.csv", "--aligned") == 1
    assert capsys.readouterr().err.endswith("holds no pairs below its first line\n")


@pytest.mark.parametrize(("count", "given"), [(0, "none was"), (1, "one was"), (3, "3 were")])
def test_two_photographs_are_needed(tmp_path, capsys, count, given):
    assert run("verify", *[tmp_path / "a.png"] * count, "--aligned") == 1
    assert capsys.readouterr().err == (
        f"error: verify needs two photographs to compare, and {given} given; name two, or --pairs FILE.csv\n"
    )


def test_a_threshold_is_measured_kept_and_used(tmp_path, people, capsys):
    out = tmp_path / "calibration.json"
    assert run("calibrate", people, "--aligned", "--far", "0.04", "--out", out) == 0
    assert ": 1 of 27 pairs of different people pass, 9 of 9 pairs of one person\n" in capsys.readouterr().out
    kept = json.loads(out.read_text())
    assert (kept["encoder"], kept["version"], kept["different"], kept["same"]) == ("faceres", "00c0ffee", 27, 9)
    pair = (people / "Ann" / "0.png", people / "Bob" / "0.png", "--aligned", "--json")
    assert run("verify", *pair, "--calibration", out) == 0
    (line,) = json_lines(capsys)
    assert line["threshold"] == pytest.approx(kept["threshold"], abs=1e-6) and line[
        "false_accept_rate"
    ] == pytest.approx(1 / 27)
    assert run("verify", *pair, "--calibration", out, "--encoder", "other") == 1
    assert "is for faceres (version 00c0ffee), and the vectors are of other" in capsys.readouterr().err
    assert run("verify", *pair, "--encoder", "other") == 1
    assert "no threshold comes with other (version 0badcafe)" in capsys.readouterr().err
    assert run("calibrate", people, "--aligned", "--far", "0.001", "--out", out) == 1
    assert "needs 1,000 pairs of different people, and there are 27" in capsys.readouterr().err
    assert json.loads(out.read_text()) == kept


def test_a_photograph_counts_once_and_for_one_person(tmp_path, people, capsys):
    """A copy would make pairs of score 1: of one person, or of two where it lies in both folders."""
    shutil.copyfile(people / "Ann" / "0.png", people / "Ann" / "copy.png")
    copy = people / "Zoë" / "copy.png"
    shutil.copyfile(people / "Ann" / "1.png", copy)
    assert run("calibrate", people, "--aligned", "--far", "0.04", "--out", tmp_path / "c.json") == 1
    said = capsys.readouterr()
    assert said.err == (
        f"error: {copy}: the same photograph is given as Ann, and cannot be Zoë as well; take it away here\n"
    )
    assert ": 1 of 27 pairs of different people pass, 9 of 9 pairs of one person\n" in said.out
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept["measured_on"] == "9 photographs of 3 people in people"


def test_the_rates_are_told_for_each_group(tmp_path, people, capsys):
    names = "person,group\nAnn,tall\nZoe\N{COMBINING DIAERESIS},tall\nBob,short\n"
    (tmp_path / "groups.csv").write_text(names, encoding="utf-8")
    command = ("calibrate", people, "--aligned", "--far", "0.5", "--out", tmp_path / "c.json", "--groups")
    assert run(*command, tmp_path / "groups.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "short, 1 person: 0 of 0 pairs of different people pass, 3 of 3 pairs of one person"
    assert lines[2].startswith("tall, 2 people: ") and "of 9 pairs of different people pass, 6 of 6 pairs" in lines[2]


def test_who_is_in_no_group_is_told(tmp_path, people, capsys):
    (tmp_path / "groups.csv").write_text("person,group\nann,tall\nZoë,tall\nBob,\n", encoding="utf-8")
    command = ("calibrate", people, "--aligned", "--far", "0.5", "--out", tmp_path / "c.json", "--groups")
    assert run(*command, tmp_path / "groups.csv") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: --groups: 1 person not in the folder: ann"
    assert second == "error: --groups: 2 people in no group, and not counted there: Ann, Bob"


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": "0.5"},
        {"threshold": float("nan")},
        {"threshold": 7},
        {"false_accept_rate": -1},
        {"true_accept_rate": 2},
        {"different": 1.5},
        {"same": True},
        {"measured_on": 3},
        {"more": 1},
    ],
)
def test_a_calibration_that_cannot_have_been_measured_is_refused(tmp_path, people, capsys, changes):
    out = tmp_path / "c.json"
    out.write_text(json.dumps(dataclasses.asdict(KNOWN) | changes))
    words = ("verify", people / "Ann" / "0.png", people / "Bob" / "0.png", "--aligned", "--calibration", out)
    assert run(*words) == 1
    assert capsys.readouterr().err == f"error: --calibration {out}: is no result of faceflax calibrate; make it anew\n"


@pytest.mark.parametrize("rate", ["0", "2", "nan"])
def test_a_rate_is_looked_at_before_any_work(tmp_path, people, capsys, monkeypatch, rate):
    monkeypatch.setattr(session, "create_embedder", lambda *arguments: pytest.fail("it went to work"))
    assert run("calibrate", people, "--aligned", "--far", rate, "--out", tmp_path / "c.json") == 1
    assert "is no share; choose one between 0 and 1" in capsys.readouterr().err


def test_a_threshold_that_cannot_be_kept_is_not_measured(tmp_path, people, capsys, monkeypatch):
    (tmp_path / "taken").touch()
    monkeypatch.setattr(session, "embed_all", lambda *arguments: pytest.fail("it went to work"))
    assert run("calibrate", people, "--aligned", "--out", tmp_path / "taken" / "c.json") == 1
    assert "cannot make the folder" in capsys.readouterr().err
