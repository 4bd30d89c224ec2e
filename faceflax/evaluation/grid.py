"""The picture of an evaluation: faces before and after, one row a task and severity."""

from collections.abc import Sequence

import cv2
import numpy as np

from faceflax.evaluation.results import Example, TaskResult

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
    """Returns the grid as uint8 RGB [H, W, 3]: `people` examples side by side, each in all its columns.

    Faces smaller than 128 pixels are enlarged by a whole factor, so that their pixels stay what they are.
    """
    shown = [result.examples[:people] for result in results]
    size = shown[0][0].clean.shape[0]
    side = size * -(-_MIN_SIDE // size)
    names = list(columns(shown[0][0]))
    step, row_height = side + _GAP, side + _CAPTION
    person_width = len(names) * step + _BETWEEN
    height, width = _TITLE + len(results) * row_height, _LABEL + len(shown[0]) * person_width - _BETWEEN
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    for row, (result, examples) in enumerate(zip(results, shown, strict=True)):
        top = _TITLE + row * row_height
        _write(canvas, str(result.task), 8, top + side // 2, 0.55)
        for person, example in enumerate(examples):
            for column, (name, picture) in enumerate(columns(example).items()):
                left = _LABEL + person * person_width + column * step
                canvas[top : top + side, left : left + side] = _enlarge(picture, side)
                _write(canvas, caption(example, name), left + 2, top + side + 14, 0.42)
                if row == 0:
                    _write(canvas, name, left + 2, 18, 0.5)
    return canvas


def _enlarge(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_NEAREST)


def _write(canvas: np.ndarray, text: str, left: int, baseline: int, scale: float) -> None:
    cv2.putText(canvas, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (_INK,) * 3, 1, cv2.LINE_AA)
