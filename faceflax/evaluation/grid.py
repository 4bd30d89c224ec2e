"""Faces before and after beside each other, one row a task and severity."""

from collections.abc import Sequence

import cv2
import numpy as np

from faceflax.evaluation.results import Example, TaskResult

Person = Sequence[tuple[str, np.ndarray, str]]  # see `sheet`

COLUMNS = ("clean", "degraded", "classical", "restored")
_METHOD = {"degraded": "input", "classical": "baseline", "restored": "model"}
_MIN_SIDE = 128  # pixels of a face in the picture
_CAPTION = 20  # pixels under a face
_TITLE = 26  # pixels above the columns
_LABEL = 130  # pixels left of the rows
_GAP = 4
_BETWEEN = 14  # pixels between two people
_PAPER, _INK = 250, 40


def columns(example: Example) -> dict[str, np.ndarray]:
    """Returns the example's pictures by column, in order; without a classical method that column is missing."""
    pictures = {"clean": example.clean}
    pictures |= {name: example.pictures[_METHOD[name]] for name in COLUMNS[1:] if _METHOD[name] in example.pictures}
    return pictures


def caption(example: Example, column: str) -> str:
    """Returns what is written under a picture: its PSNR, or the image's number for the clean one."""
    return f"image {example.index}" if column == "clean" else f"{example.psnr[_METHOD[column]]:.1f} dB"


def draw(results: Sequence[TaskResult], people: int = 2) -> np.ndarray:
    """Returns the grid as uint8 RGB [H, W, 3]: `people` examples side by side, each in all its columns."""

    def shown(example: Example) -> Person:
        return [(name, picture, caption(example, name)) for name, picture in columns(example).items()]

    return sheet([(str(result.task), [shown(example) for example in result.examples[:people]]) for result in results])


def sheet(rows: Sequence[tuple[str, Sequence[Person]]]) -> np.ndarray:
    """Returns pictures in rows as uint8 RGB [H, W, 3]; each row has a title and as many people as the others.

    A person is the pictures beside each other: (title of the column, uint8 RGB [S, S, 3], caption under it). Pictures
    smaller than 128 pixels are enlarged by a whole factor, so that their pixels stay what they are.
    """
    _, first = rows[0]
    size = first[0][0][1].shape[0]
    side = size * -(-_MIN_SIDE // size)
    step, row_height = side + _GAP, side + _CAPTION
    person_width = len(first[0]) * step + _BETWEEN
    height, width = _TITLE + len(rows) * row_height, _LABEL + len(first) * person_width - _BETWEEN
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    for row, (label, people) in enumerate(rows):
        top = _TITLE + row * row_height
        _write(canvas, label, 8, top + side // 2, 0.55)
        for number, person in enumerate(people):
            for column, (name, picture, text) in enumerate(person):
                left = _LABEL + number * person_width + column * step
                canvas[top : top + side, left : left + side] = _enlarge(picture, side)
                _write(canvas, text, left + 2, top + side + 14, 0.42)
                if row == 0:
                    _write(canvas, name, left + 2, 18, 0.5)
    return canvas


def _enlarge(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_NEAREST)


def _write(canvas: np.ndarray, text: str, left: int, baseline: int, scale: float) -> None:
    cv2.putText(canvas, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (_INK,) * 3, 1, cv2.LINE_AA)
