"""What the arguments of all commands have in common: what is wrong with them is one sentence."""

import argparse
import functools
from collections.abc import Callable
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


def whole(allowed: str = "") -> Callable[[str], int]:
    """Returns the type of an argument that is a whole number; `allowed`, as "from 1 to 4", goes on with the sentence.

    What is a number and not allowed is for the command to refuse.
    """
    return functools.partial(_number, int, f"a whole number {allowed}".rstrip())


def number(allowed: str) -> Callable[[str], float]:
    """As `whole`, of any number."""
    return functools.partial(_number, float, f"a number {allowed}")


def _number(kind: Callable[[str], float], wanted: str, given: str) -> float:
    try:
        return kind(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{given}" is not {wanted}') from error


COUNT = whole("of 1 or more")
"""The type of an argument that is how many."""


def _text(given: str) -> str:
    if not given:
        raise argparse.ArgumentTypeError("an empty text was given, as by a variable of the shell that is not set")
    return given
