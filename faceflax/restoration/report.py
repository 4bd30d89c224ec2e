"""What was done to a photograph, as JSON beside the result."""

import shlex
import sys
from pathlib import Path
from typing import Any

import faceflax
from faceflax.preprocessing import acquire
from faceflax.restoration.subjects import Located, Subject

_KNOWN_OF_MODEL = ("model", "fingerprint", "size", "arm", "step", "fidelity", "mirror")


def photograph(
    source: Path,
    output: Path,
    shape: tuple[int, int],
    faces_done: list[dict],
    beside: int | None,
    model: dict,
    comparison: Path | None,
    times: int,
) -> dict:
    """Returns the report on a photograph of `shape` (H, W) in pixels, with these faces, made with that model.

    It names the comparison that lies beside `output`, or null. Boxes are x0, y0, x1, y1 and points x, y, in pixels from
    the photograph's upper left corner; the result is `times` as wide and as high. `beside` is how many of the result's
    pixels, in holes of a mask and of no face, were filled smoothly; None where no mask was given.
    """
    return {
        "source": str(source),
        "result": str(output),
        "comparison": None if comparison is None else comparison.name,
        "width": shape[1],
        "height": shape[0],
        "times": times,
        "faces": faces_done,
        **({} if beside is None else {"filled_beside_faces": beside}),
        **origin(model),
    }


def origin(model: dict[str, Any]) -> dict[str, Any]:
    """What made a result: the model, the command and the version."""
    return {
        "model": {name: model[name] for name in _KNOWN_OF_MODEL if model.get(name) is not None},
        "command": shlex.join([Path(sys.argv[0]).name, *map(_without_secrets, sys.argv[1:])]),
        "faceflax": faceflax.__version__,
    }


def _without_secrets(argument: str) -> str:
    """A camera's password, say, is in no record, even if the camera was refused."""
    option, is_joined, value = argument.partition("=")
    if is_joined and option.startswith("-"):
        return f"{option}={acquire.shown(value)}"
    return acquire.shown(argument)


def faces(subjects: list[Subject], taken_back: list[float | None]) -> list[dict[str, Any]]:
    """Returns what was done to each face; `taken_back` is of those with a crop, None where only holes were filled."""
    shares = iter(taken_back)
    return [_face(subject, None if subject.crop is None else next(shares)) for subject in subjects]


def _face(subject: Subject, taken_back: float | None) -> dict[str, Any]:
    if subject.crop is None:
        return found(subject.located) | {"restored": False, "reason": subject.skipped}
    done = {"restored": True, "pixels_per_model_pixel": _rounded(subject.crop.step)}
    if taken_back is not None:
        done |= {"noise": _rounded(subject.crop.noise), "taken_back": _rounded(taken_back)}
    return found(subject.located) | done


def found(located: Located) -> dict[str, Any]:
    """Where a face is, how sure the detector was, and the yaw in degrees where it was judged."""
    face = located.face
    return {
        "yaw": None if located.yaw is None else round(located.yaw, 1),
        "box": [_rounded(value) for value in face.box],
        "points": [[_rounded(value) for value in point] for point in face.points],
        "score": round(face.score, 4),
    }


def _rounded(value: float) -> float:
    return round(float(value), 2)
