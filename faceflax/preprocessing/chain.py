"""The chain from a photograph to normalised faces: found, measured, aligned, brightened, freed of noise, relit."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from faceflax import __version__
from faceflax.preprocessing import alignment, denoise, detection, frontalise, mesh, relight
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.mesh import Mesh

# Raise it with every change after which the chain makes other crops or records of the same file: its order, a network,
# a constant of a stage; not for another wording of a reason. What earlier revisions made is then made anew, as two
# kinds of crops are no one set. Where the detector's points move, recognition's thresholds
# (`recognition.calibration.DEFAULTS`) are measured anew, too.
REVISION = 9
# Share of a face's mesh outside the photograph, beyond which what is mirrored at the edge puts eyes or a mouth into it.
# Of ORL's tight framing no more is outside.
_MOST_OUTSIDE = 0.05
_LEAST_SIZE = 48  # pixels; CLAHE's tiles and the noise's wavelets need some


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the chain does.

    Attributes:
      size: side of the crops in pixels.
      template: a name of `alignment.TEMPLATES`.
      frontal: whether faces that look to a side are turned to the front.
      relight: whether light is corrected.
      denoise: whether noise is removed.
      max_yaw: degrees; a face that looks further to a side is refused.
      min_side: pixels; a face whose box's longer side is less is refused.
      only_largest: whether other faces than the largest are passed over.
    """

    size: int = 256
    template: str = "ffhq"
    frontal: bool = False
    relight: bool = True
    denoise: bool = True
    max_yaw: float = 60.0
    min_side: float = 20.0
    only_largest: bool = False

    def made_by(self) -> dict[str, Any]:
        """Returns what has to be the same for two files' crops to be of one set, as JSON has it."""
        return {"version": __version__, "chain": REVISION, "settings": dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True, eq=False)
class Normalised:
    """A face out of a photograph.

    Attributes:
      face: as found, with the points that the alignment follows.
      record: what was measured and done, as JSON has it.
      reason: why the face is refused; empty if it is not.
      pixels: the crop, uint8 RGB [size, size, 3]; None if the face is refused.
      alignment: the way from the photograph to the crop and back; None if the face is refused.
    """

    face: Face
    record: dict[str, Any]
    reason: str = ""
    pixels: np.ndarray | None = None
    alignment: Alignment | None = None


Normalise = Callable[[np.ndarray], list[Normalised]]
"""uint8 RGB [H, W, 3] -> its faces, largest first, with those that are refused."""


def load_chain(settings: Settings) -> Normalise:
    """Returns the chain; raises `UserError` when a network cannot be fetched."""
    detect, measure = detection.load_detector(), mesh.load_mesh()

    def normalise(pixels: np.ndarray) -> list[Normalised]:
        faces = detect(pixels)
        faces = mesh.measure_all(pixels, faces[:1] if settings.only_largest else faces, measure)
        return [normalise_face(pixels, face, measured, settings) for face, measured in faces]

    return normalise


def normalise_face(pixels: np.ndarray, face: Face, measured: Mesh | None, settings: Settings) -> Normalised:
    """Returns one face of a photograph, through every stage that the settings ask for."""
    is_measured = mesh.is_sure(measured)
    face = mesh.refine(face, measured)
    record = _describe(face, measured, pixels.shape)
    reason = _refusal(face, measured if is_measured else None, settings, pixels.shape)
    if reason:
        return Normalised(face, record | {"refused": reason}, reason)
    made = alignment.align(face.points, settings.size, settings.template)
    # A face smaller than the crop is enlarged at last, as noise that is spread is no longer seen to be noise.
    size = min(settings.size, max(_LEAST_SIZE, round(settings.size / np.hypot(*made.matrix[:, 0]))))
    own = made if size == settings.size else alignment.align(face.points, size, settings.template)
    template = alignment.TEMPLATES[settings.template]
    if settings.frontal and is_measured:
        crop, turned = frontalise.frontalise(pixels, measured, own, template)
        record["frontal"] = frontalise.describe(measured, turned)
    else:
        crop = own.crop(pixels)
    crop, done = _clean(crop, relight.oval(size, template), settings)
    record |= done
    if size != settings.size:
        crop = cv2.resize(crop, (settings.size, settings.size), interpolation=cv2.INTER_CUBIC)
    record["matrix"] = np.round(made.matrix, 6).tolist()
    return Normalised(face, record, "", crop, made)


def _clean(crop: np.ndarray, inner: np.ndarray, settings: Settings) -> tuple[np.ndarray, dict[str, Any]]:
    """Removes noise where it is alike everywhere: after a dark crop is scaled up, before light bends the tones."""
    record, gain = {}, 1.0
    is_dark = settings.relight and relight.is_dark(crop, inner)
    if settings.relight:
        crop, gain = relight.brighten(crop, inner)
    if settings.denoise:
        crop, record["denoise"] = denoise.denoise(crop, denoise.DARK_STRENGTH if is_dark else denoise.STRENGTH)
    if settings.relight:
        crop, done = relight.relight(crop, inner)
        record["relight"] = {"gain": gain, **done}
    return crop, record


def _describe(face: Face, measured: Mesh | None, shape: Sequence[int]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "box": np.round(face.box, 2).tolist(),
        "points": np.round(face.points, 2).tolist(),
        "score": round(face.score, 3),
    }
    if measured is not None:
        angles = dict(zip(("yaw", "pitch", "roll"), (round(angle, 1) for angle in measured.angles), strict=True))
        inside = round(float(measured.inside(shape).mean()), 3)
        record["mesh"] = {"score": round(measured.score, 3), "inside": inside, **angles}
    return record


def _refusal(face: Face, measured: Mesh | None, settings: Settings, shape: Sequence[int]) -> str:
    if face.side < settings.min_side:
        small = f"a face of {face.side:.0f} pixels is smaller than {settings.min_side:g}"
        return f"{small}; give a larger picture or lower --min-side"
    yaw = 0.0 if measured is None else abs(measured.angles[0])
    if yaw > settings.max_yaw:
        return f"a face in profile: it looks {yaw:.0f} degrees to a side, over {settings.max_yaw:g}; raise --max-yaw"
    outside = 0.0 if measured is None else 1 - float(measured.inside(shape).mean())
    if outside > _MOST_OUTSIDE or not mesh.is_inside(face.points, shape).all():
        return "a face that is cut off by the picture's edge; give a picture with more around it"
    return ""
