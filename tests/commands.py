"""The `faceflax` command, run in this process."""

import os

import pytest

from faceflax import cli


def run(*words):
    """Returns the exit status of `faceflax` with these words, which may be paths."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(map(os.fspath, words)))
    return caught.value.code
