"""The `faceflax` command: arguments only. What a command does is imported when it is called."""

import argparse
from collections.abc import Sequence

from faceflax import __version__
from faceflax.errors import run_main


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faceflax", description="Reconstructs faces from degraded photographs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_datasets(commands)
    _add_restore(commands)
    return parser


def _add_datasets(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.datasets import commands as datasets

        return datasets.run(arguments)

    parser = commands.add_parser("datasets", help="list, show or build datasets of faces")
    parser.set_defaults(run=run)
    # arguments of list | show NAME | build NAME


def _add_restore(commands: argparse._SubParsersAction) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from faceflax.restoration import command as restoration

        return restoration.run(arguments)

    parser = commands.add_parser("restore", help="restore face crops")
    parser.set_defaults(run=run)
    # arguments of restore


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command in `argv` (default: the process's arguments) and exits with its status."""
    arguments = _parser().parse_args(argv)
    run_main(lambda: arguments.run(arguments))
