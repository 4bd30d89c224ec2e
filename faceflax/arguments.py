"""What the arguments of all commands have in common: what is wrong with them is one sentence."""

import argparse
from typing import Any, NoReturn

from faceflax.errors import UserError


class Parser(argparse.ArgumentParser):
    """Wrong arguments are one sentence with exit status 1, as all else that is wrong."""

    def parse_known_args(self, *given: Any, **options: Any) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but a command says itself, and of its own help, what it does not know."""
        found, unknown = super().parse_known_args(*given, **options)
        if unknown:
            self.error(f"unrecognised arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raises `UserError`."""
        raise UserError(f"{message.removeprefix('argument ')}; `{self.prog} --help` tells what can be given")
