"""The CSV files that commands on faces are given."""

import csv
from collections.abc import Sequence
from pathlib import Path

from faceflax.errors import UserError


def read(option: str, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Returns the lines of the CSV that a command's `option` names, each with these columns; "" where one has none.

    The first line names the columns; others are passed over. Raises `UserError` where the file cannot be read, is no
    CSV in UTF-8, or lacks a column.
    """
    named = ",".join(columns)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            if not set(columns) <= set(rows.fieldnames or ()):
                raise UserError(f"{option} {path}: its first line must name the columns {named}")
            return [{column: row[column] or "" for column in columns} for row in rows]
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{option} {path}: is no CSV file in UTF-8; write one with the columns {named}") from error
