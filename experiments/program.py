"""What every experiment program shares: its flags, and errors in one sentence."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from faceflax.errors import UserError, run_main


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main()` and exits with its status; a wrong flag is one sentence, not a traceback."""

    def parse_and_run() -> int | None:
        _parse(sys.argv)
        logging.set_verbosity(logging.ERROR)  # orbax and tfds tell of their every step otherwise
        return main()

    run_main(parse_and_run)


def _parse(argv: list[str]) -> None:
    app.define_help_flags()
    try:
        rest = flags.FLAGS(argv)
    except FileNotFoundError as error:
        raise UserError(f"no such config file: {_value(argv, 'config')}; the project's own lie in configs/") from error
    except (KeyError, AttributeError) as error:
        # ml_collections' text is the field's name, and on a second line the nearest that exists.
        words = " ".join(str(error.args[0]).split())
        raise UserError(f"unknown config field {words}; faceflax/config.py lists them all") from error
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if len(rest) > 1:
        raise UserError(f'"{rest[1]}" is not a flag; write --name=value, and quote values that hold spaces')


def _value(argv: list[str], name: str) -> str:
    for index, word in enumerate(argv):
        if word.lstrip("-").startswith(f"{name}="):
            return word.split("=", 1)[1]
        if word.lstrip("-") == name:
            return argv[index + 1]
    return ""
