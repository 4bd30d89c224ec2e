"""Where the faces are: CenterFace (Xu et al., arXiv 1911.03599) gives each a box and five points."""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from faceflax import assets
from faceflax.preprocessing import alignment, landmarks

_OUTPUTS = ("537", "538", "539", "540")
_STRIDE = 4
_MULTIPLE = 32  # the network halves its input five times
_LEAST_SCORE = 0.35
_MOST_OVERLAP = 0.3  # intersection over union of two faces
_SIDES = (1280, 2560)  # longer side of what the network looks at: at first, and where faces may be small
_SMALL = 48  # pixels; where a face is no larger there may be some that the network is too coarse for
_MOST_ADDED = 96  # pixels at the former scale; a larger face was seen there
_FINE = 13 / 20  # scale at which a face of 20 pixels is as small as the network still sees them all
_OVERLAP = 160  # pixels that tiles of a large picture share: a face that is cut at all their edges is seen at first
_SURE = 0.75  # a score that a face seldom has whose points are wrong
_CLOSE_UP = 1.3  # side of the second look, in sides of the template
_FINDING = 128  # pixels of a close-up that looks for the face; in one of 192 more faces are lost in noise
_PLACING = 192  # of one that places its points; of 128 they come out inwards and higher, by 5% of the eyes' distance
_TEMPLATE_MIDDLE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_MIRRORED = [1, 0, 2, 4, 3]  # the points' places when left and right change sides


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """A face in a photograph, in pixels from its upper left corner.

    Attributes:
      box: float64 [4], x0, y0, x1, y1; it may reach over the photograph's edge.
      points: float64 [5, 2], left eye, right eye, nose, left and right corner of the mouth, as seen in the image of the
        face turned upright.
      score: the network's, from 0 to 1.
    """

    box: np.ndarray
    points: np.ndarray
    score: float

    @property
    def side(self) -> float:
        """The longer side of the box in pixels."""
        return float(max(self.box[2:] - self.box[:2]))

    def moved(self, matrix: np.ndarray) -> "Face":
        """Returns the face where `matrix` [2, 3] brings it; the box is the upright one around the moved one."""
        corners = alignment.transform(matrix, self.box[[[0, 1], [2, 1], [0, 3], [2, 3]]])
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        return Face(box, alignment.transform(matrix, self.points), self.score)


def are_one(one: Face, other: Face) -> bool:
    """Whether two faces, by boxes too far apart to be taken for one, turned out to have the same points."""
    return np.linalg.norm(one.points - other.points, axis=1).mean() < np.linalg.norm(one.points[1] - one.points[0]) / 2


def do_overlap(one: Face, other: Face) -> bool:
    """Whether the boxes of two faces have so much in common that they are one face's."""
    return overlap(one.box, other.box) >= _MOST_OVERLAP


Detect = Callable[[np.ndarray], list[Face]]
"""uint8 RGB [H, W, 3] -> the faces in it, largest first."""


def load_detector(is_thorough: bool = True) -> Detect:
    """Returns the detector; it may be called by several threads, one after the other.

    It finds faces from 20 pixels wide up to the size of the photograph, turned by any angle where all are: one where no
    face is found is tried in its three other turns, so that a face may be missed that is upside down beside others.
    One that is not thorough looks closer than at 1,280 pixels a side only where it found no face or small ones: beside
    larger faces it may miss those of less than 1% of the side, in a seventh of the time for 12 million pixels.

    Raises `UserError` when the network cannot be fetched.
    """
    network = cv2.dnn.readNetFromONNX(str(assets.fetch(assets.CENTERFACE)))
    lock = threading.Lock()

    def look(pixels: np.ndarray) -> list[Face]:
        bottom, right = (-side % _MULTIPLE for side in pixels.shape[:2])
        padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        with lock:
            network.setInput(cv2.dnn.blobFromImage(padded))
            return _decode(network.forward(_OUTPUTS))

    return lambda pixels: _detect(pixels, look, _FINE if is_thorough else 0)


def _decode(outputs: list[np.ndarray]) -> list[Face]:
    """The faces that the network's outputs tell of: heat, logarithms of sides, offsets of centres, points."""
    heat, log_sides, offsets, points = (output[0] for output in outputs)
    rows, columns = np.nonzero(heat[0] > _LEAST_SCORE)
    place = np.s_[:, rows, columns]
    sides = _STRIDE * np.exp(log_sides[place][::-1].T.astype(np.float64))  # the network says y before x
    centres = _STRIDE * (np.column_stack([columns, rows]) + offsets[place][::-1].T + 0.5)
    corners = centres - sides / 2
    points = points[place].T.reshape(-1, 5, 2)[..., ::-1] * sides[:, None] + corners[:, None]
    boxes = np.hstack([corners, corners + sides])
    faces = zip(boxes, points, map(float, heat[0][rows, columns]), strict=True)
    return _distinct([Face(*face) for face in faces])


def _distinct(faces: list[Face]) -> list[Face]:
    """The faces without those that overlap one of a higher score."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(do_overlap(face, other) for other in kept):
            kept.append(face)
    return kept


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the intersection over union of two boxes x0, y0, x1, y1."""
    inner = np.prod(np.maximum(0, np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])))
    return inner / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inner)


def _detect(pixels: np.ndarray, look: Detect, least_scale: float) -> list[Face]:
    for turns in range(4):
        faces = _detect_upright(np.ascontiguousarray(np.rot90(pixels, turns)), look, least_scale)
        if faces:
            back = _turn_back(turns, *pixels.shape[:2])
            return sorted((face.moved(back) for face in faces), key=lambda face: -face.side)
    return []


def _turn_back(turns: int, height: int, width: int) -> np.ndarray:
    """The map [2, 3] from `numpy.rot90(pixels, turns)` to `pixels` of that height and width."""
    matrices = (
        [[1, 0, 0], [0, 1, 0]],
        [[0, -1, width], [1, 0, 0]],
        [[-1, 0, width], [0, -1, height]],
        [[0, 1, 0], [-1, 0, height]],
    )
    return np.array(matrices[turns], np.float64)


def _detect_upright(pixels: np.ndarray, look: Detect, least_scale: float) -> list[Face]:
    faces: list[Face] = []
    most = np.inf
    for scale in _scales(max(pixels.shape[:2])):
        # In a face that fills much of what it sees, the network takes an eye for a face.
        found = [face for face in _look_at_scale(pixels, scale, look) if face.side < most]
        faces = _distinct([*faces, *found])
        most = _MOST_ADDED / scale if faces else np.inf
        if scale >= least_scale and faces and min(face.side for face in faces) * scale > _SMALL:
            break
    settled = (_settle(pixels, face, look) for face in faces)
    return _distinct([face for face in settled if face is not None])


def _scales(side: int) -> Iterator[float]:
    """Scales to look at, one after the other as long as there may be smaller faces: at most natural size, but twice it
    for a small photograph.
    """
    first, second = _SIDES
    yield from sorted({min(1.0, first / side), min(1.0, max(second / side, _FINE))})
    if 2 * side <= _SIDES[0]:
        yield 2.0


def _look_at_scale(pixels: np.ndarray, scale: float, look: Detect) -> list[Face]:
    shape = [max(1, round(side * scale)) for side in pixels.shape[:2]]
    matrix = np.diag([shape[1] / pixels.shape[1], shape[0] / pixels.shape[0], 1.0])[:2]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = pixels if scale == 1 else cv2.resize(pixels, shape[::-1], interpolation=interpolation)
    return [face.moved(alignment.invert(matrix)) for face in _look_in_tiles(shown, look)]


def _look_in_tiles(pixels: np.ndarray, look: Detect) -> list[Face]:
    """The faces in a picture of any size, but for those that reach over an edge where tiles meet."""
    height, width = pixels.shape[:2]
    faces = []
    for top, left in itertools.product(_starts(height), _starts(width)):
        tile = pixels[top : top + _SIDES[1], left : left + _SIDES[1]]
        least = [left or -np.inf, top or -np.inf]
        right, bottom = left + tile.shape[1], top + tile.shape[0]
        most = [right if right < width else np.inf, bottom if bottom < height else np.inf]
        found = (face.moved(np.array([[1.0, 0, left], [0, 1, top]])) for face in look(tile))
        faces += [face for face in found if (face.box[:2] > least).all() and (face.box[2:] < most).all()]
    return _distinct(faces)


def _starts(side: int) -> list[int]:
    """Where tiles begin that cover `side` pixels."""
    count = max(1, -(-(side - _OVERLAP) // (_SIDES[1] - _OVERLAP)))
    return [round(start) for start in np.linspace(0, max(0, side - _SIDES[1]), count)]


def _settle(pixels: np.ndarray, face: Face, look: Detect) -> Face | None:
    """The face with the better points and the score of a close-up, looked at in quarter turns if the first disappoints.

    None when no close-up shows a face.
    """
    settled = _look_closer(pixels, face, look)
    if settled is None or settled.score < _SURE:
        turned = _best(_turned_looks(pixels, face, look))
        turned = None if turned is None else _look_closer(pixels, turned, look)
        settled = _best([found for found in (settled, turned) if found is not None])
    return None if settled is None else dataclasses.replace(settled, box=face.box)


def _look_closer(pixels: np.ndarray, face: Face, look: Detect) -> Face | None:
    """The face in close-ups turned upright: two that find it, and two larger ones that place its points.

    Where noise hides the face from these, its points are those of the first two.
    """
    found = _look_both_ways(pixels, face, _FINDING, look)
    return None if found is None else _look_both_ways(pixels, found, _PLACING, look) or found


def _look_both_ways(pixels: np.ndarray, face: Face, size: int, look: Detect) -> Face | None:
    """The face with the mean of the points in a close-up of `size` pixels and in its mirror; None if one shows none."""
    placement = _placement(face)
    if placement is None:
        return None
    matrix = _close_up(placement @ _TEMPLATE_MIDDLE, _CLOSE_UP, size)
    mirror = np.array([[-1.0, 0, size], [0, 1, 0]]) @ np.vstack([matrix, (0, 0, 1)])
    plain, mirrored = (_best(_look_through(pixels, way, size, look)) for way in (matrix, mirror))
    if plain is None or mirrored is None:
        return None
    points = (plain.points + mirrored.points[_MIRRORED]) / 2
    seen = Face(plain.box, points, min(plain.score, mirrored.score))
    return None if _placement(seen) is None else seen


def _placement(face: Face) -> np.ndarray | None:
    try:
        return landmarks.fit(face.points)
    except ValueError:
        return None


def _best(faces: list[Face]) -> Face | None:
    return max(faces, key=lambda face: face.score, default=None)


def _turned_looks(pixels: np.ndarray, face: Face, look: Detect) -> list[Face]:
    """What the network says of the face in each quarter turn."""
    middle = (face.box[:2] + face.box[2:]) / 2
    turns = (np.array([[c, -s, 0], [s, c, 0]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1)))
    placements = (np.column_stack([face.side * turn[:, :2], middle]) for turn in turns)
    matrices = (_close_up(placement, 1.6, _FINDING) for placement in placements)
    return [found for matrix in matrices for found in _look_through(pixels, matrix, _FINDING, look)]


def _close_up(placement: np.ndarray, side: float, size: int) -> np.ndarray:
    """The map [2, 3] from the photograph to a close-up of `size` pixels: `side` about the origin of `placement`."""
    scale = side / size
    return alignment.invert(placement @ np.array([[scale, 0, -side / 2], [0, scale, -side / 2], [0, 0, 1]]))


def _look_through(pixels: np.ndarray, matrix: np.ndarray, size: int, look: Detect) -> list[Face]:
    """The faces near the middle of a close-up of `size` pixels."""
    shown = alignment.warp(pixels, matrix, (size, size), cv2.BORDER_REPLICATE)
    middle = size / 2
    near = [face for face in look(shown) if (face.box[:2] < middle).all() and (face.box[2:] > middle).all()]
    return [face.moved(alignment.invert(matrix)) for face in near]
