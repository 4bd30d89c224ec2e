"""What the arguments of all commands have in common: what is wrong with them is one sentence."""

import argparse
from typing import Any, NoReturn

from faceflax.errors import UserError


class Parser(argparse.ArgumentParser):
    """Wrong arguments are one sentence with exit status 1, as all else that is wrong.

    So is an empty text, which is what an unset variable of the shell gives, where no type says that it may be one.
    """

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """As argparse's."""
        if options.get("action", "store") in ("store", "append"):
            options.setdefault("type", _text)
        return super().add_argument(*names, **options)

    def parse_known_args(self, *given: Any, **options: Any) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but a command says itself, and of its own help, what it does not know."""
        found, unknown = super().parse_known_args(*given, **options)
        if unknown:
            self.error(f"unrecognised arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raises `UserError`."""
        raise UserError(f"{message.removeprefix('argument ')}; `{self.prog} --help` tells what can be given")


def _text(given: str) -> str:
    if not given:
        raise argparse.ArgumentTypeError("an empty text was given, as by a variable of the shell that is not set")
    return given
