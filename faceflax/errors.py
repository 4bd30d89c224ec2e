"""Errors that people read: one sentence that says what is wrong and what to do, and no traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. Its text is one plain sentence: what is wrong, and what to do."""


def run_main(main: Callable[[], int | None]) -> None:
    """Runs a program's `main`, and ends the process with its exit status.

    A `UserError` is printed as one line on stderr and ends with status 1; any other exception is a bug of ours and
    keeps its traceback. An interrupt ends with status 130, as shells expect.
    """
    try:
        status = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)
