"""Calls a function in another process, on its CPU: this one may hold no device that a training needs."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from faceflax.errors import UserError

_PROGRAM = "from faceflax.evaluation.benchmark import aside; aside._answer()"


def call(function: Callable, *arguments: Any) -> Any:
    """Returns `function(*arguments)`, or raises its `UserError`.

    The function is one that a module has under its name; what it is given and returns is pickled.
    """
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=pickle.dumps((function, arguments)),
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        check=False,
    )
    if found.returncode:
        raise RuntimeError(
            f"{function.__name__} ended with {found.returncode}: {found.stderr.decode(errors='replace')}"
        )
    value, mistake = pickle.loads(found.stdout)
    if mistake:
        raise UserError(mistake)
    return value


def _answer() -> None:
    """What the other process does: it reads the call from its input, and writes what came of it to its output."""
    answer, sys.stdout = sys.stdout.buffer, sys.stderr  # whatever else is printed
    function, arguments = pickle.load(sys.stdin.buffer)
    try:
        found = (function(*arguments), "")
    except UserError as error:
        found = (None, str(error))
    answer.write(pickle.dumps(found))
    answer.flush()
