"""The `faceflax` command: arguments only. What a command does is imported when it is called."""

import argparse
from collections.abc import Sequence

from faceflax import __version__
from faceflax.errors import run_main
from faceflax.recognition.commands import arguments as recognition


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faceflax", description="Reconstructs faces from degraded photographs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_datasets(commands)
    _add_restore(commands)
    _add_mask(commands)
    recognition.add(commands)
