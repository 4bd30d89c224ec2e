"""Five points of a face: read from a file that people write, and the place of the face that follows from them."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from faceflax.errors import UserError

# On faces aligned as FFHQ's, in parts of the image's sides: eyes, tip of the nose, corners of the mouth; left in the
# image comes first. Medians of where CenterFace put them in close-ups of 192 pixels of 300 such faces, left and right
# averaged; close-ups of another size, as `detection` has them, would ask for another template.
TEMPLATE = np.array([(0.367, 0.47), (0.633, 0.47), (0.5, 0.622), (0.3885, 0.7335), (0.6115, 0.7335)])
_LEAST_LIKENESS = 0.5  # a face in profile has about 0.8, one whose left and right are swapped about 0


def whole_image(height: int, width: int) -> np.ndarray:
    """Returns the placement [2, 3] of an aligned face: the template's square about the middle, its side the longer one.

    A placement maps the template's (x, y, 1) to pixels from the image's upper left corner.
    """
    side = max(height, width)
    return np.array([[side, 0.0, (width - side) / 2], [0.0, side, (height - side) / 2]])


def fit(points: np.ndarray, template: np.ndarray = TEMPLATE) -> np.ndarray:
    """Returns the placement [2, 3] by shift, turn and scale that brings `template` nearest to `points`, both [5, 2].

    Nearest in the sum of squares (Umeyama, IEEE TPAMI 1991). Raises `ValueError` when the points are not like a face's.
    """
    origin, target = (values @ (1, 1j) for values in (template, np.asarray(points, np.float64)))
    centred, moved = origin - origin.mean(), target - target.mean()
    spread = np.sum(np.abs(moved) ** 2)
    turn = np.sum(centred.conj() * moved) / np.sum(np.abs(centred) ** 2)
    if not spread or np.abs(turn) ** 2 * np.sum(np.abs(centred) ** 2) < _LEAST_LIKENESS * spread:
        raise ValueError(
            "its five points do not lie like a face's; give left eye, right eye, nose, left and right corner of the "
            "mouth, as seen in the image"
        )
    shift = target.mean() - turn * origin.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the points [5, 2] of each face by its file's name, out of a CSV or JSON file.

    A row of a CSV is `file,x0,y0,...,x4,y4`; the first may hold titles. A JSON is `{file: [[x0, y0], ...]}`. Points are
    in pixels from the upper left corner. Raises `UserError` with the place of what is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"--landmarks {path}: cannot be read: {error.strerror}; check the name") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--landmarks {path}: is no text; write a CSV or JSON file in UTF-8") from error
    if path.suffix.lower() == ".json":
        return _from_json(path, text)
    return _from_csv(path, text)


def _from_csv(path: Path, text: str) -> dict[str, np.ndarray]:
    found = {}
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or (number == 1 and not _is_number(row[-1])):
            continue
        name, place = row[0].strip(), f"{path}, line {number}"
        if name in found:
            raise UserError(f"--landmarks {place}: {name} has a row already; give one face of each file")
        found[name] = _points(row[1:], place)
    return found


def _from_json(path: Path, text: str) -> dict[str, np.ndarray]:
    try:
        faces = json.loads(text)
        rows = {name: [value for point in points for value in point] for name, points in faces.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"--landmarks {path}: is not a JSON object of file names; give each five [x, y]") from error
    return {name: _points(row, f"{path}, {name}") for name, row in rows.items()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _points(values: list[Any], place: str) -> np.ndarray:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != TEMPLATE.size or not all(map(math.isfinite, numbers)):
        raise UserError(f"--landmarks {place}: needs ten numbers; give x and y of five points")
    return np.reshape(numbers, TEMPLATE.shape)
