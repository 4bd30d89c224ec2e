"""The CSV files that commands on faces are given."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from faceflax.errors import UserError


class Row(NamedTuple):
    """A line of the list below its first.

    Attributes:
      values: by column; "" where the line has none.
      place: what to call it: "line 3".
      problem: a sentence that says why the values are not what was meant; "" where nothing speaks against them.
    """

    values: dict[str, str]
    place: str
    problem: str


def read(option: str, path: Path, columns: Sequence[str]) -> list[Row]:
    """Returns the lines of the CSV that a command's `option` names, each with these columns.

    The first line names the columns; others are passed over. Raises `UserError` where the file cannot be read, is no
    CSV in UTF-8, or lacks a column.
    """
    named, begun = ",".join(columns), 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, skipinitialspace=True, strict=True)
            header = next(lines, [])
            if not set(columns) <= set(header):
                raise UserError(f"{option} {path}: its first line must name the columns {named}")
            rows, begun = [], lines.line_num + 1
            for cells in lines:
                if cells:  # else the line is empty
                    rows.append(_row(option, header, columns, cells, begun))
                begun = lines.line_num + 1
            return rows
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: is no CSV file in UTF-8; write one with the columns {named}") from error
    except csv.Error as error:
        raise UserError(
            f"{option} {path}: what begins in line {begun} is no CSV ({error}); close its quotes, and double those "
            "within a name"
        ) from error


def _row(option: str, header: list[str], columns: Sequence[str], cells: list[str], number: int) -> Row:
    given = dict(zip(header, cells, strict=False))
    values = {column: given.get(column, "") for column in columns}
    place, problem = f"line {number}", ""
    if len(cells) > len(header):
        problem = f"has {len(cells)} columns, and the first line names {len(header)}; quote what has a comma in it"
    elif any("\n" in value or "\r" in value for value in values.values()):
        problem = "goes on in the next line within quotes; close them"
    return Row(values, place, problem and f"{option}: {place} {problem}")
