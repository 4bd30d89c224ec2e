"""The faces of a photograph, each cut out as the network takes it, or left alone for a reason."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from faceflax.preprocessing import alignment, colour, detection, images, mesh
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.detection import Face
from faceflax.preprocessing.images import Photograph
from faceflax.preprocessing.mesh import Mesh
from faceflax.restoration import exposure, holes, noisiness, paste, restorers

_LEAST_MISSING = 1e-3  # share of a crop's pixel that is missing, from which all of it is
MOST_YAW = 60.0  # degrees; beyond, half of the face that the network would draw is not seen
NOT_CENTRE = "another face is nearer to the centre"
NO_HOLE = "no hole of the mask lies in it"
# By which a mesh's outline is enlarged, as the mesh ends below the hair and the blend before the outline.
_MARGIN = 1.12


@dataclasses.dataclass(frozen=True, eq=False)
class Located:
    """A face in a photograph, and its mesh where the network for it is sure."""

    face: Face
    mesh: Mesh | None

    @property
    def yaw(self) -> float | None:
        """Degrees by which the face looks to the right of its upright picture, if that is known."""
        return None if self.mesh is None else self.mesh.angles[0]


Locate = Callable[[np.ndarray], list[Located]]
"""uint8 RGB [H, W, 3] -> the faces in it, largest first."""


def load_locator(is_thorough: bool = True) -> Locate:
    """Returns what finds faces, as `detection.load_detector`, their points refined by the mesh; threads may share it.

    Raises `UserError` when one of its networks cannot be fetched.
    """
    detect, measure = detection.load_detector(is_thorough), mesh.load_mesh()

    def locate(pixels: np.ndarray) -> list[Located]:
        found = mesh.measure_all(pixels, detect(pixels), measure)
        return [Located(face, measured if mesh.is_sure(measured) else None) for face, measured in found]

    return locate


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """A face as the network takes it.

    Attributes:
      place: where it lies in the photograph.
      image: float32 [S, S, 3] in [0, 1], sRGB.
      missing: float32 [S, S, 1], 1 where the user says that pixels are missing.
      mask: float32 [S, S], how much of the result shows.
      own: as `image`, with the values that the photograph has for these colours.
      profile: the photograph's, that says what those values mean.
      gain: by which `image` is brightened for the network, see `exposure`.
      noise: standard deviation of the noise in the photograph's own pixels there, of 255, see `noisiness`.
    """

    place: Alignment
    image: np.ndarray
    missing: np.ndarray
    mask: np.ndarray
    own: np.ndarray
    profile: bytes
    gain: float = 1.0
    noise: float = 0.0

    @property
    def shown(self) -> np.ndarray:
        """What the network is shown, float32 [S, S, 3]: `image` in better light, if the face is dark."""
        return exposure.brighten(self.image, self.missing, self.gain)

    def in_own_light(self, restored: np.ndarray) -> np.ndarray:
        """Returns what the network made of `shown`, float32 [S, S, 3], in the light of `image`."""
        return exposure.darken(restored, self.image, self.missing, self.gain)

    @property
    def step(self) -> float:
        """Side of a crop's pixel in the photograph's: above 1 the face is larger there than the network sees it."""
        return self.place.step

    @property
    def weight(self) -> int:
        """Memory that it takes until it is put back, in pixels of a photograph, of 3 bytes each."""
        return sum(kept.nbytes for kept in (self.image, self.missing, self.mask, self.own, self.image)) // 3


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A face that was found: its crop, or else one sentence on why it is left as it is."""

    located: Located
    crop: Crop | None
    skipped: str = ""


def find(
    photograph: Photograph,
    locate: Locate,
    size: int,
    missing: np.ndarray | None = None,
    *,
    filled: Photograph | None = None,
    only_centre: bool = False,
) -> list[Subject]:
    """Returns the faces in a photograph, largest first, cut out at `size`.

    Args:
      photograph: any.
      locate: finds faces.
      size: side of the crops.
      missing: bool [H, W], the holes to be filled, or None to restore faces whole.
      filled: the photograph with something smooth in its holes, in which faces are looked for as well.
      only_centre: whether only the face nearest to the photograph's middle is restored.
    """
    faces = locate(images.to_srgb8(photograph))
    if filled is not None:
        faces = _surest(faces + locate(images.to_srgb8(filled)))
    chosen = nearest_to_middle(faces, photograph.pixels.shape) if only_centre else faces
    subjects = []
    for located in faces:
        if located not in chosen:
            subjects.append(Subject(located, None, NOT_CENTRE))
        else:
            subjects.append(_cut(photograph, located, size, missing))
    return subjects


def _surest(faces: list[Located]) -> list[Located]:
    """The faces, largest first, without those that are one with a face of which the mesh is surer.

    Of two of which it is as sure, the first one counts: around a small hole, what is painted shows more than a fill.
    """
    kept: list[Located] = []
    for located in sorted(faces, key=_sureness, reverse=True):
        face = located.face
        if not any(detection.are_one(face, other.face) or detection.do_overlap(face, other.face) for other in kept):
            kept.append(located)
    return sorted(kept, key=lambda located: -located.face.side)


def _sureness(located: Located) -> float:
    return 0.0 if located.mesh is None else round(located.mesh.score, 4)  # nearer to 1 it tells nothing


def nearest_to_middle(faces: list[Located], shape: Sequence[int]) -> list[Located]:
    """Returns the face, if there is one, that is nearest to the middle of a picture of `shape` (H, W, ...)."""
    return sorted(faces, key=lambda found: np.hypot(*(found.face.box[:2] + found.face.box[2:] - shape[1::-1])))[:1]


def _cut(photograph: Photograph, located: Located, size: int, missing: np.ndarray | None) -> Subject:
    try:
        place = alignment.align(located.face.points, size)
    except ValueError:
        return Subject(located, None, "its five points do not lie like a face's")
    hidden = None if missing is None else _hidden(missing, place)
    if hidden is not None and not hidden.any():
        return Subject(located, None, NO_HOLE)
    if located.yaw is not None and abs(located.yaw) > MOST_YAW:
        return Subject(located, None, f"the face is seen from the side, turned by {abs(located.yaw):.0f} degrees")
    crop = cut(photograph, place, paste.soft_mask(hull(located.mesh, place), size))
    if hidden is None:
        return Subject(located, crop)
    if (1 - hidden)[crop.mask > 0].mean() < holes.LEAST_KNOWN:
        return Subject(located, None, "hardly anything of it is known beside the mask's holes")
    image = np.where(hidden[..., None] > 0, np.float32(holes.COLOUR), crop.image)
    gain = exposure.gain(crop.image, crop.mask * (1 - hidden))
    filled = dataclasses.replace(crop, image=image, missing=hidden[..., None], mask=paste.square(size), gain=gain)
    return Subject(located, filled)


def _hidden(missing: np.ndarray, place: Alignment) -> np.ndarray:
    """float32 [S, S], 1 where any part of a crop's pixel is missing; mirrored beyond the border, as crops are."""
    share = alignment.warp(missing.astype(np.float32), place.matrix, (place.size, place.size))
    return (np.abs(share) > _LEAST_MISSING).astype(np.float32)


def hull(measured: Mesh | None, place: Alignment) -> np.ndarray:
    """Returns points [N, 2] in a crop's pixels around what is shown of it: the mesh, or an ellipse without one."""
    if measured is None:
        return paste.outline() * place.size
    points = place.to_crop(measured.points[:, :2])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return middle + _MARGIN * (points - middle)


def cut(photograph: Photograph, place: Alignment, mask: np.ndarray) -> Crop:
    """Returns the crop at `place` of a photograph, of which nothing is missing and `mask` [S, S] shows."""
    pixels, profile = photograph.pixels, photograph.profile
    own = place.crop(pixels).astype(np.float32) / np.iinfo(pixels.dtype).max
    own = own if own.ndim == 3 else np.repeat(own[..., None], 3, axis=2)
    image, missing = colour.to_srgb(own, profile), np.zeros((*mask.shape, 1), np.float32)
    gain, noise = exposure.gain(image, mask), noisiness.measure(pixels, place)
    return Crop(place, image, missing, mask, own, profile, gain, noise)


def put_back(
    pixels: np.ndarray,
    crop: Crop,
    restored: np.ndarray,
    times: int,
    steady: Callable[[float], float] = lambda spared: spared,
) -> float:
    """Puts what the network made of a whole crop into `pixels`, in place.

    Args:
      pixels: the photograph, enlarged `times` times.
      crop: what was restored.
      restored: float32 [S, S, 3], in the light of the crop.
      times: how much `pixels` were enlarged.
      steady: of a video, makes of what this frame would spare what is spared with regard to the frames before.

    Returns:
      the share of the network's change that was taken back, as `paste.spared` says and `noisiness.cleanness` allows.

    Raises:
      ValueError: `restored` is not finite.
    """
    restorers.check_finite(restored)
    clean = noisiness.cleanness(crop.noise * crop.gain)  # in the light in which the network sees it
    spared = steady(clean * paste.spared(restored, crop.image, crop.mask))
    restored = restored + np.float32(spared) * (crop.image - restored)
    kept = clean * paste.kept_detail(restored, crop.image, crop.mask, crop.step)
    matched = paste.match_colour(colour.put_back(restored, crop.image, crop.own, crop.profile), crop.own)
    place = paste.enlarged(crop.place, times)
    paste.paste(pixels, matched - np.float32(kept) * crop.own, crop.mask, place, kept=kept)
    return spared
