"""What every experiment program shares: its flags, and errors in one sentence."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging

from faceflax.errors import RefusedError, UserError, run_main


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main()` and exits with its status; a wrong flag is one sentence, and status 2."""

    def parse_and_run() -> int | None:
        _parse(sys.argv)
        logging.set_verbosity(logging.FATAL)  # orbax and tfds tell of their every step, and errors twice
        return main()

    run_main(parse_and_run)


def training_command(config: Path, workdir: Path) -> list[str]:
    """Returns the command that trains what `config`, an experiment as JSON, says in `workdir`, or takes it up again."""
    arguments = [f"--config=configs/saved.py:{config}", f"--workdir={workdir}"]
    return [sys.executable, "-m", "experiments.train", *arguments]


def _parse(argv: list[str]) -> None:
    app.define_help_flags()
    try:
        rest = flags.FLAGS(argv)
        if "config" in flags.FLAGS and flags.FLAGS["config"].value is not None:
            flags.FLAGS["config"].value.lock()  # a file that could not be read complains only when it is used
    except OSError as error:  # no refusal: another machine may have the file
        raise UserError(f"no such config file: {_value(argv, 'config')}; the project's own lie in configs/") from error
    except (KeyError, AttributeError) as error:
        raise RefusedError(_unknown_field(str(error))) from error
    except (flags.Error, TypeError, ValueError) as error:
        raise RefusedError(" ".join(str(error).split())) from error
    if len(rest) > 1:
        raise RefusedError(f'"{rest[1]}" is not a flag; write --name=value, and quote values that hold spaces')


def _unknown_field(text: str) -> str:
    """Says in one sentence what ml_collections says in a quoted quotation of two lines."""
    names = re.findall(r"\w+", text)
    near = re.search(r'mean "(\w+)"', text)
    advice = f'did you mean "{near[1]}"?' if near else "faceflax/config.py lists them all"
    return f'the config has no field "{names[0]}"; {advice}'


def _value(argv: list[str], name: str) -> str:
    for index, word in enumerate(argv):
        if word.lstrip("-").startswith(f"{name}="):
            return word.split("=", 1)[1]
        if word.lstrip("-") == name:
            return argv[index + 1]
    return ""
