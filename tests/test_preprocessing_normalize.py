"""`faceflax normalize` from the command line: names, records, resuming, videos, and sentences for what is bad."""

import argparse
import contextlib
import json
import os
import struct
import time
import zlib
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceflax import cli
from faceflax.preprocessing import acquire, chain, command, frontalise, inputs, mesh, normalising
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph, read, write
from faceflax.preprocessing.landmarks import TEMPLATE
from faceflax.preprocessing.normalising import Outcome
from tests import faces
from tests.faces import placed

FACES = faces.load(6)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """From the user's own cache, for the processes that are started too."""
    faces.published(lambda: chain.load_chain(chain.Settings()))
    monkeypatch.setenv("FACEFLAX_CACHE", str(Path("~/.cache/faceflax").expanduser()))


class _Here:
    """A process that is this one, so that tests may change what it does."""

    def __init__(self, count, context, start, arguments):
        command._start(*arguments)

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
            patch.setattr(command, "ProcessPoolExecutor", _Here)
        cli.main(["normalize", *map(str, arguments), "--workers", str(workers or 1)])
    return caught.value.code


def two_faces():
    return faces.scene([(FACES[0], placed(130, 10, (100, 110))), (FACES[1], placed(90, 0, (260, 110)))], 220, 340)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_faces_and_records(tmp_path, capsys):
    write(tmp_path / "in" / "sub" / "two.png", Photograph(two_faces(), None))
    write(tmp_path / "in" / "grey.png", Photograph(cv2.cvtColor(FACES[2], cv2.COLOR_RGB2GRAY), None))
    write(tmp_path / "in" / "deep.png", Photograph(FACES[3].astype(np.uint16) * 257, None))
    assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", "96", workers=2) == 0
    expected = ["deep.json", "deep.png", "grey.json", "grey.png", "sub/two+2.png", "sub/two.json", "sub/two.png"]
    assert names(tmp_path / "out") == expected
    assert capsys.readouterr().out == f"normalised 3 of 3 sources, 4 faces, into {tmp_path / 'out'}\n"
    record = json.loads((tmp_path / "out" / "sub" / "two.json").read_text())
    assert record["settings"]["size"] == 96 and [face["file"] for face in record["faces"]] == ["two.png", "two+2.png"]
    for face in record["faces"]:
        assert {"box", "points", "score", "mesh", "matrix", "relight", "denoise"} <= set(face)
        made = Alignment(96, np.array(face["matrix"]))
        assert np.abs(made.to_crop(np.array(face["points"])) - 96 * TEMPLATE).max() < 0.06 * 96
    assert record["faces"][0]["mesh"]["roll"] == pytest.approx(10, abs=5)
    assert read(tmp_path / "out" / "grey.png").pixels.shape == (96, 96)
    crop = read(tmp_path / "out" / "deep.png").pixels
    assert np.corrcoef(crop.ravel(), cv2.resize(FACES[3], (96, 96)).ravel())[0, 1] > 0.8


def test_a_second_run_does_what_is_new_or_changed(tmp_path, capsys):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", Photograph(FACES[number], None))
    arguments = (tmp_path / "in", "--out", tmp_path / "out", "--size", "64")
    assert normalize(*arguments) == 0
    out = tmp_path / "out"
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    write(tmp_path / "in" / "1.png", Photograph(two_faces(), None))
    (out / "2.png").unlink()
    assert normalize(*arguments) == 0
    assert "(done already: 1)" in capsys.readouterr().out
    changed = {name for name in names(out) if (out / name).stat().st_mtime_ns != before.get(name)}
    assert changed == {"1.json", "1.png", "1+2.png", "2.json", "2.png"}
    write(tmp_path / "in" / "1.png", Photograph(FACES[1], None))
    assert normalize(*arguments) == 0
    assert not (out / "1+2.png").exists()  # of the photograph that was there
    assert normalize(*arguments, "--no-relight") == 0
    assert "already" not in capsys.readouterr().out.splitlines()[-1]


def test_a_second_run_agrees_where_names_come_to_clash(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    arguments = (folder, "--out", out, "--size", "64")
    write(folder / "a.png", Photograph(two_faces(), None))
    assert normalize(*arguments) == 0
    assert names(out) == ["a+2.png", "a.json", "a.png"]
    write(folder / "a.TIF", Photograph(FACES[1], None))  # PNG in fact, which does not matter
    assert normalize(*arguments) == 0
    both = ["a.png+2.png", "a.png.json", "a.png.png", "a.tif.json", "a.tif.png"]
    assert names(out) == both  # nobody is there twice
    assert json.loads((out / "a.tif.json").read_text())["source"] == "a.TIF"
    capsys.readouterr()
    assert normalize(folder / "a.TIF", folder / "a.png", "--out", out, "--size", "64") == 0
    assert names(out) == both and "(done already: 2)" in capsys.readouterr().out
    (folder / "a.TIF").unlink()
    assert normalize(*arguments) == 0
    assert names(out) == ["a+2.png", "a.json", "a.png", "a.tif.json", "a.tif.png"]


def test_what_another_chain_made_is_made_anew(tmp_path, capsys, monkeypatch):
    write(tmp_path / "a.png", Photograph(FACES[0], None))
    arguments = (tmp_path / "a.png", "--out", tmp_path / "out", "--size", "64")
    for chain_revision, is_kept in ((1, False), (1, True), (2, False)):
        monkeypatch.setattr(chain, "REVISION", chain_revision)
        assert normalize(*arguments) == 0
        assert ("(done already: 1)" in capsys.readouterr().out) == is_kept
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    del record["chain"]  # as the first version wrote it
    (tmp_path / "out" / "a.json").write_text(json.dumps(record))
    assert normalize(*arguments) == 0
    assert "already" not in capsys.readouterr().out


def test_an_interrupted_change_of_size_is_not_taken_for_what_was_there(tmp_path, capsys, monkeypatch):
    """Neither record says that the crops are whole; what a former run made in excess is removed all the same."""
    source, out = tmp_path / "a.png", tmp_path / "out"
    write(source, Photograph(two_faces(), None))
    assert normalize(source, "--out", out, "--size", "64") == 0

    def interrupted(path, value):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(normalising, "write_json", interrupted)
        assert normalize(source, "--out", out, "--size", "48") == 130
    assert not (out / "a.json").exists() and read(out / "a.png").pixels.shape == (48, 48, 3)
    assert normalize(source, "--out", out, "--size", "64", "--only-largest") == 0
    assert "already" not in capsys.readouterr().out.splitlines()[-1]
    assert names(out) == ["a.json", "a.png"] and read(out / "a.png").pixels.shape == (64, 64, 3)


def test_a_file_that_came_later_does_not_take_anothers_result(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    write(folder / "a.tif", Photograph(FACES[0], None))
    write(folder / "a.png", Photograph(two_faces(), None))
    for _ in range(2):
        assert normalize(folder / "a.tif", "--out", out, "--size", "64") == 0
        assert normalize(folder / "*.png", "--out", out, "--size", "64") == 0
    assert names(out) == ["a.json", "a.png", "a.png+2.png", "a.png.json", "a.png.png"]
    assert json.loads((out / "a.json").read_text())["source"] == "a.tif"
    assert capsys.readouterr().out.count("(done already: 1)") == 2
    assert normalize(folder, "--out", out, "--size", "64") == 0
    assert names(out) == ["a.png+2.png", "a.png.json", "a.png.png", "a.tif.json", "a.tif.png"]
    write(tmp_path / "other" / "a.TIF", Photograph(FACES[0], None))
    (out / "a.json").write_text(json.dumps({"source": "a.heic", "faces": [], "refused": []}))
    assert normalize(tmp_path / "other" / "a.TIF", "--out", out, "--size", "64") == 1
    assert f"{out / 'a.png'} is there already, of another file; choose another --out" in capsys.readouterr().err


def test_results_are_never_taken_for_photographs(tmp_path, capsys):
    """Not when the folder, a pattern or a shell's list of names holds them."""
    folder = tmp_path / "in"
    write(folder / "a.tif", Photograph(two_faces(), None))
    video(folder / "clip.avi", 1)
    assert normalize(folder / "a.tif", folder / "clip.avi", "--out", folder, "--size", "64") == 0
    before = names(folder)
    capsys.readouterr()
    results = sorted(folder.rglob("*.png"))
    assert len(results) == 3
    for given, sentence in (
        ([folder], "as photographs the next time"),
        ([folder / "**" / "*"], "no image fits it"),
        (results[:2], "its result would overwrite"),
        (results[2:], "a face that faceflax normalize made"),
        ([folder / "clip"], "a face that faceflax normalize made"),
    ):
        assert normalize(*given, "--out", folder, "--size", "64") == 1
        error = capsys.readouterr().err
        assert error.count(sentence) == error.count("\n") == len(given) and names(folder) == before
    assert normalize(results[1], "--out", tmp_path / "out", "--size", "64") == 0  # elsewhere it is a picture as others


def test_bad_files_get_a_sentence_each_and_the_rest_is_done(tmp_path, capfd):
    source = tmp_path / "in"
    write(source / "good.png", Photograph(FACES[0], None))
    encoded = cv2.imencode(".jpg", FACES[1])[1].tobytes()
    png = bytearray((source / "good.png").read_bytes())
    png[16:24] = struct.pack(">II", 50_000, 50_000)
    bad = {
        b"text.jpg": (b"hello\n" * 99, "not a JPEG"),
        b"empty.png": (b"", "the file is empty"),
        b"cut.jpg": (encoded[: len(encoded) // 2], "truncated"),
        b"bomb.png": (bytes(png), "50000x50000 pixels are more than the 100 million"),
        b"nobody.png": (cv2.imencode(".png", faces.background(90, 90))[1].tobytes(), "no face found"),
        b"caf\xe9.jpg": (b"hello", "not a JPEG"),
        b"clip.mp4": (b"hello", "cannot be opened as a video"),
    }
    for name, (data, _) in bad.items():
        (source / os.fsdecode(name)).write_bytes(data)
    words = cv2.imencode(".png", FACES[3])[1].tobytes()  # of which libpng would say that its profile is damaged
    body = b"iCCPx\0\0damaged"
    block = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (source / "words.png").write_bytes(words[:33] + block + words[33:])
    (source / os.fsdecode(b"fa\xe7e.png")).write_bytes(cv2.imencode(".png", FACES[2][..., ::-1])[1].tobytes())
    arguments = (source, tmp_path / "none.png", "--out", tmp_path / "out", "--size", "64")
    assert normalize(*arguments, workers=1) == 1
    captured = capfd.readouterr()
    assert captured.out == f"normalised 3 of 11 sources, 3 faces, into {tmp_path / 'out'}\n"
    lines = captured.err.splitlines()
    assert len(lines) == len(bad) + 1 and all(line.startswith("error: ") for line in lines)
    for name, (_, reason) in bad.items():
        shown = name.decode(errors="replace")
        assert [line for line in lines if shown in line and reason in line], (shown, lines)
    assert [line for line in lines if "none.png: no such file" in line]
    assert normalize(*arguments) == 1 and capfd.readouterr().err.count("error: ") == len(lines)  # nothing is forgotten


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two points\nare one"), "a fault of faceflax: two points are one"),
        (cv2.error("(-215) !empty"), "(-215) !empty"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_file_that_nobody_foresaw_is_one_sentence_too(tmp_path, capsys, monkeypatch, error, said):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", Photograph(FACES[number], None))
    normalise_face = chain.normalise_face

    def fail_once(pixels, *others):
        if (pixels == FACES[1]).all():
            raise error
        return normalise_face(pixels, *others)

    monkeypatch.setattr(chain, "normalise_face", fail_once)
    assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", "64") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("normalised 2 of 3 sources, 2 faces")
    assert captured.err.count("\n") == 1 and f"error: {tmp_path / 'in' / '1.png'}: " in captured.err
    assert said in captured.err
    assert names(tmp_path / "out") == ["0.json", "0.png", "2.json", "2.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--template", "square"), "choose one of ffhq, arcface"),
        (("--size", "4"), "choose 16 to 2048 pixels"),
        (("--every", "0"), "make it 1 or more"),
        (("--max-yaw", "-5"), "choose 0 to 180 degrees"),
        (("--min-side", "nan"), "choose 0 or more"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, sentence):
    assert normalize(tmp_path, "--out", tmp_path / "out", *arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_name_that_is_nearly_too_long_is_one_sentence(tmp_path, capsys):
    write(tmp_path / "in" / f"{'n' * 236}.png", Photograph(FACES[0], None))
    (tmp_path / "in" / f"{'n' * 251}.png").touch()
    for size in (64, 48):
        assert normalize(tmp_path / "in", "--out", tmp_path / "out", "--size", size) == 1
        said = capsys.readouterr()
        assert said.out.startswith("normalised 1 of 2 sources, 1 face, into")
        assert "its name is too long" in said.err and said.err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    write(tmp_path / "a.png", Photograph(FACES[0], None))
    (tmp_path / "out").write_text("a file")
    for out, sentence in (
        (tmp_path / "out", "is a file; name a folder"),
        (tmp_path / "out" / "sub", "cannot make the"),
    ):
        assert normalize(tmp_path / "a.png", "--out", out) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1


def video(path, count=6):
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 160))
    for number in range(count):
        writer.write(faces.scene([(FACES[0], placed(120, 0, (70 + 3 * number, 80)))], 160, 160)[..., ::-1])
    writer.release()


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
        if work.source == "19":
            self.first.set_result(Outcome(failure="0"))
        return future


def test_a_long_video_does_not_let_the_other_processes_wait(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "ProcessPoolExecutor", _Patient)
    monkeypatch.setattr(_Patient, "first", None)
    works = [normalising.Work(str(number), tmp_path / f"{number}.png") for number in range(20)]
    outcomes = [outcome.failure for outcome in command._run_all(works, chain.Settings(), 2)]
    assert sorted(outcomes, key=int) == [work.source for work in works] and outcomes.index("0") > 10


def _die_once(work, settings):
    if work.source == "3" and not work.record.exists():
        work.record.touch()
        os._exit(1)
    return Outcome(failure=work.source)


def test_what_a_dead_process_had_is_done_again(monkeypatch, tmp_path):
    assert sorted(_run_ten(_die_once, monkeypatch, tmp_path)) == list("0123456789")


def _die_of_one(work, settings):
    if work.source == "3":
        os._exit(1)
    time.sleep(0.05)
    return Outcome(failure=work.source)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_kills_a_process_is_named_alone(monkeypatch, tmp_path, workers):
    died = "3: the process that read it died; it may need too much memory"
    assert sorted(_run_ten(_die_of_one, monkeypatch, tmp_path, workers)) == sorted([died, *"012456789"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_died_before_its_work_is_replaced(monkeypatch, tmp_path, workers):
    made = []

    class Dead(_Here):
        def __init__(self, *_):
            made.append(self)
            self.is_dead = len(made) == 1

        def submit(self, function, work, settings):
            if self.is_dead:
                raise BrokenProcessPool
            return super().submit(function, work, settings)

    monkeypatch.setattr(command, "ProcessPoolExecutor", Dead)
    monkeypatch.setattr(command, "_normalise", lambda work, settings: Outcome(failure=work.source))
    works = [normalising.Work(str(number), tmp_path / f"{number}.png") for number in range(3)]
    assert sorted(each.failure for each in command._run_all(works, chain.Settings(), workers)) == list("012")
    assert len(made) == workers + 1


def _run_ten(normalise, monkeypatch, folder, workers=2):
    """What processes say of the sources "0" to "9"."""
    monkeypatch.setattr(command, "_normalise", normalise)
    monkeypatch.setattr(command, "_start_process", _start_nothing)
    works = [normalising.Work(str(number), folder / f"{number}.png") for number in range(10)]
    return [outcome.failure for outcome in command._run_all(works, chain.Settings(), workers)]


def _start_nothing(settings):
    pass


def test_a_video_gives_every_nth_frame(tmp_path, capfd):
    video(tmp_path / "clip.avi")
    options = ("--out", tmp_path / "out", "--size", "64", "--every", "2")
    assert normalize(tmp_path / "clip.avi", *options) == 0
    assert names(tmp_path / "out") == ["clip.json", "clip/000000.png", "clip/000002.png", "clip/000004.png"]
    record = json.loads((tmp_path / "out" / "clip.json").read_text())
    places = [np.mean(face["points"], axis=0)[0] for face in record["faces"]]
    np.testing.assert_allclose(np.diff(places), 6, atol=1.5)
    assert normalize(tmp_path / "clip.avi", *options) == 0
    assert "(done already: 1)" in capfd.readouterr().out


def test_a_camera_that_is_not_there_is_one_sentence(tmp_path, capfd):
    assert normalize("97", "rtsp://me:secret@127.0.0.1:9/live?key=1", "--out", tmp_path / "out") == 1
    error = capfd.readouterr().err
    assert error.count("no such camera or stream") == 2 and error.count("\n") == 2
    assert "secret" not in error and "key" not in error


def test_no_capture_removes_an_earlier_one(tmp_path, monkeypatch):
    """Not even one of the same second, of another source, or of the same with fewer frames."""
    monkeypatch.setattr(command.time, "strftime", lambda form: "20260102-030405")
    frames = {"http://a/1?key=s": 3, "http://b/1": 2}
    monkeypatch.setattr(
        acquire, "frames", lambda source, every, limit: enumerate([FACES[0]] * min(limit, frames[source]))
    )
    made = []
    for sources, limit in ((["http://a/1?key=s"], 9), (["http://b/1"], 9), (["http://a/1?key=s", "http://b/1"], 1)):
        assert normalize(*sources, "--out", tmp_path, "--size", "64", "--frames", limit) == 0
        now = names(tmp_path)
        assert set(made) < set(now) and not any("key" in name for name in now)
        made = now
    assert len([name for name in made if name.endswith(".png")]) == 3 + 2 + 1 + 1
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(len(record["faces"]) for record in records) == [1, 1, 2, 3]


def test_faces_of_a_live_source_are_never_removed(tmp_path):
    work = normalising.Work("rtsp://camera/1", tmp_path / "stream.png")
    face = tmp_path / "stream" / "000000.png"
    write(face, Photograph(FACES[0], None))
    work.record.write_text(json.dumps({"faces": [{"file": "stream/000000.png"}], "refused": []}))
    normalising._remove_stale(work, {"faces": []})
    assert face.exists()
    normalising._remove_stale(normalising.Work("stream.mp4", work.output), {"faces": []})
    assert not face.exists()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("rtsp://u:p@host/1", "rtsp://host/1"),
        ("rtsp://u:p@ss@host/1", "rtsp://host/1"),
        ("rtsp://u:p/w@host/1", "rtsp://host/1"),
        ("HTTP://host/1?key=s#token", "HTTP://host/1"),
        ("http://host/1#token?s", "http://host/1"),
        ("rtsp://u:p?w@host/1", "rtsp://..."),  # and not rtsp://u:p
        ("http://host/1?key=a@b", "http://..."),
        ("srt://u:p@host", "srt://host"),  # of a kind that is not read
        ("rtsps:/u:p@host", "rtsps:/host"),  # a path, which has one slash
        ("a@b?c#d.png", "a@b?c#d.png"),
        ("in/a:/b@c.png", "in/a:/b@c.png"),
    ],
)
def test_no_secret_of_an_address_is_shown(source, shown):
    assert acquire.shown(source) == shown


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


def test_two_boxes_of_one_face_are_one(monkeypatch):
    """As the mesh leads both to the same points, the first, which is larger, counts."""
    points = 100 * TEMPLATE
    found = [Face(np.array([0.0, 0, 90, 90]) + shift, points + shift / 5, 0.9) for shift in (0, 25, 200)]
    monkeypatch.setattr(chain.detection, "load_detector", lambda: lambda pixels: found)
    monkeypatch.setattr(chain.mesh, "load_mesh", lambda: lambda pixels, face: None)
    made = chain.load_chain(chain.Settings(size=64))(faces.background(300, 300))
    assert [each.face for each in made] == [found[0], found[2]]


def test_faces_in_profile_are_refused_with_a_reason(tmp_path, capsys):
    settings = chain.Settings(size=64, max_yaw=40)
    points = mesh.template() * 100
    turn = np.deg2rad(55)
    turned = points @ np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]).T
    measured = mesh.Mesh(turned, 1.0)
    face = Face(np.array([0.0, 0, 90, 90]), 100 * TEMPLATE, 0.9)
    found = chain.normalise_face(FACES[0], face, measured, settings)
    assert found.pixels is None and "looks 55 degrees to a side, over 40" in found.reason
    write(tmp_path / "a.png", Photograph(FACES[0], None))  # it looks 28 degrees to a side
    assert normalize(tmp_path / "a.png", "--out", tmp_path / "out", "--max-yaw", "15") == 1
    assert "a face in profile" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "a.json").read_text())["refused"][0]["mesh"]["yaw"] > 15


def test_a_turned_face_comes_out_frontal():
    before = chain.load_chain(chain.Settings(size=128, relight=False, denoise=False))
    after = chain.load_chain(chain.Settings(size=128, relight=False, denoise=False, frontal=True))
    shown = faces.load(15, 256)
    (aside,) = after(shown[0])
    assert aside.record["frontal"]["turned"] == 0 and "to a side by 28 degrees" in aside.record["frontal"]["reason"]
    for face in [shown[number] for number in (11, 12, 14)]:
        (one,), (other,) = before(face), after(face)
        yaw = one.record["mesh"]["yaw"]
        assert abs(yaw) > 10
        assert other.record["frontal"]["turned"] == -yaw
        (again,) = before(other.pixels)
        assert abs(again.record["mesh"]["yaw"]) < 0.5 * abs(yaw)


def test_a_face_that_looks_down_too_goes_on_looking_down():
    def rotation(yaw, pitch):
        (c, s), (k, t) = ((np.cos(angle), np.sin(angle)) for angle in np.deg2rad((yaw, pitch)))
        return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ np.array([[1, 0, 0], [0, k, t], [0, -t, k]])

    both, down = (mesh.Mesh(100 * mesh.template() @ rotation(yaw, -20).T, 1.0) for yaw in (25, 0))
    np.testing.assert_allclose(both.angles, (25, -20, 0), atol=0.1)
    turned = frontalise._turned(both, down.five)
    np.testing.assert_allclose(turned, down.points[:, :2], atol=0.1)


def test_a_frontal_face_is_not_turned():
    made = Alignment(64, np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    measured = mesh.Mesh(128 * mesh.template(), 1.0)
    crop, turned = frontalise.frontalise(FACES[0], measured, made, TEMPLATE)
    assert turned == 0
    np.testing.assert_array_equal(crop, made.crop(FACES[0]))


def test_a_face_that_looks_too_far_aside_is_left_with_a_reason():
    made = Alignment(64, np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    for yaw, is_turned in ((frontalise.MOST_YAW - 1, True), (frontalise.MOST_YAW + 1, False)):
        c, s = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
        measured = mesh.Mesh(128 * mesh.template() @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]).T, 1.0)
        crop, turned = frontalise.frontalise(FACES[0], measured, made, TEMPLATE)
        assert turned == pytest.approx(-yaw if is_turned else 0)
        assert np.array_equal(crop, made.crop(FACES[0])) != is_turned
        record = frontalise.describe(measured, turned)
        assert ("reason" in record) != is_turned and record["turned"] == pytest.approx(turned)


def test_a_name_that_another_source_may_write_is_refused(tmp_path):
    for name in ("group.jpg", "group+2.jpg", "film/000000.jpg", "alone+2.jpg", "film.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    arguments = argparse.Namespace(inputs=[str(tmp_path / "in")], every=1, frames=None)
    works, failures = command._plan(arguments, tmp_path / "out")
    assert sorted(Path(work.source).name for work in works) == ["alone+2.jpg", "film.mp4", "group.jpg"]
    assert len(failures) == 2 and all("may be a face of another source too" in failure for failure in failures)
