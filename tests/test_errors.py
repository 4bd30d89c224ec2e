"""How a program ends whose words nobody can take, and what people read of names that are not meant to be read."""

import json
import os
import signal
import subprocess
import sys

import pytest

from faceflax import cli
from faceflax.errors import UserError, printable, refusing, run_main
from tests import commands

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


def _raise(error):
    raise error


def test_a_configuration_that_is_refused_has_a_status_of_its_own(capsys):
    def main():
        with refusing():
            _raise(UserError("too long"))

    for program, status in ((main, 2), (lambda: _raise(UserError("too long")), 1)):
        with pytest.raises(SystemExit) as ended:
            run_main(program)
        assert (ended.value.code, capsys.readouterr().err) == (status, "error: too long\n")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zoë 写真 👩‍🚀.jpg", "Zoë 写真 👩‍🚀.jpg"),
        ("a\nerror: b.jpg", r"a\nerror: b.jpg"),
        ("\x1b[2Jred\x07\x7f.jpg", r"\u001b[2Jred\u0007\u007f.jpg"),
        ("\x9b31m\x85\u2028.jpg", r"\u009b31m\u0085\u2028.jpg"),
        ("gpj.\u202ecod.jpg", r"gpj.\u202ecod.jpg"),
        (b"caf\xe9\xff.jpg".decode(errors="surrogateescape"), "caf\ufffd\ufffd.jpg"),
        ("\ud800.jpg", "\ufffd.jpg"),
    ],
)
def test_a_name_is_one_line_that_a_terminal_does_not_obey(name, shown, capsys):
    def fail():
        raise UserError(f"{name}: is wrong")

    assert printable(name) == shown
    with pytest.raises(SystemExit):
        run_main(fail)
    assert capsys.readouterr().err == f"error: {shown}: is wrong\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("normalize", "a.jpg"), "the following arguments are required: --out; `faceflax normalize --help` tells"),
        (
            ("normalize", "a.jpg", "--out", "x", "--size", "abc"),
            '--size: "abc" is not a whole number from 16 to 2048; `',
        ),
        (
            ("restore", "a.jpg", "--out", "x", "--upscale", "1.5"),
            '--upscale: "1.5" is not a whole number from 1 to 4; `',
        ),
        (
            ("restore", "a.jpg", "--out", "x", "--fidelity", "x"),
            '--fidelity: "x" is not a number from 0 to 1; `facefla',
        ),
        (("mask", "a.jpg", "--out", "x", "--seed", ""), '--seed: "" is not a whole number; `faceflax mask --help` tel'),
        (("serve", "--port", "abc"), '--port: "abc" is not a whole number from 0 to 65535; `faceflax serve --help` te'),
        (("verify", "a.jpg", "b.jpg", "--threshold", "0,5"), '--threshold: "0,5" is not a number from -1 to 1; `face'),
        (("restore", "a.jpg", "--out", "x", "--new"), "unrecognised arguments: --new; `faceflax restore --help` tells"),
        (("gallery", "show", "--gallery", "a.db", "more"), "arguments: more; `faceflax gallery show --help` tells"),
        (("--new", "models"), "unrecognised arguments: --new; `faceflax --help` tells"),
        (("gallery", "show"), "required"),
        (("nonsense",), "invalid choice: 'nonsense'"),
        ((), "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 1 and sentence in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("restore", "a.jpg", "--out", "x", "--mask", ""), "--mask"),
        (("restore", "a.jpg", "--out", "x", "--model="), "--model"),
        (("restore", "a.jpg", "--out", ""), "--out"),
        (("restore", "a.jpg", "", "--out", "x"), "PHOTO|FOLDER|VIDEO"),
        (("export", "--format", "onnx", "--out", ""), "--out"),
        (("serve", "--model", ""), "--model"),
        (("datasets", "list", "--data-dir", ""), "--data-dir"),
        (("datasets", "show", "mini_faces", "--out", ""), "--out"),
        (("enroll", "", "--gallery", "a.db"), "PHOTO|FOLDER"),
        (("verify", "a.jpg", "b.jpg", "--calibration", ""), "--calibration"),
        (("verify", "a.jpg", "b.jpg", "--pairs", ""), "--pairs"),
        (("gallery", "delete", "--gallery", "a.db", "--photograph", ""), "--photograph"),
    ],
)
def test_an_empty_text_is_refused(words, named, capsys):
    assert commands.run(*words) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {named}: an empty text was given, as by a variable of the shell that is not set; ")


def test_an_empty_note_is_none(capsys):
    assert commands.run("gallery", "update", "--gallery", "absent.db", "--all", "--consent", "") == 1
    assert "there is no gallery absent.db" in capsys.readouterr().err


def test_json_stays_the_same_json():
    values = {"path": 'a\n"\x1b\x7f\x85\u202e\\.jpg'}
    assert json.loads(printable(json.dumps(values, ensure_ascii=False))) == values


_COLLECTS = """
import gc, signal, sys, time
from faceflax.errors import ended_in_order, run_main

def main():
    number = int(sys.argv[1])
    gc.callbacks.append(lambda phase, info: phase == "start" and (gc.callbacks.clear(), signal.raise_signal(number)))
    with ended_in_order():
        gc.collect()
        time.sleep(20)

run_main(main)
"""


@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_an_interrupt_while_garbage_is_collected_is_not_lost(number, status, said):
    command = [sys.executable, "-c", _COLLECTS, str(int(number))]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=15)  # wakes who sleeps
    assert (finished.returncode, finished.stderr) == (status, said)
