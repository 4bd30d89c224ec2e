"""468 points of a face in three dimensions (Kartynnik et al., arXiv 1907.06724), and which way the face looks."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from faceflax import assets
from faceflax.preprocessing import alignment, detection, landmarks
from faceflax.preprocessing.detection import Face

POINTS = 468
LEAST_SCORE = 0.9  # below, CenterFace's five points are nearer to those of the undamaged face
_TEMPLATE_FILE = Path(__file__).with_name("mesh_template.csv")
_SIDE = 192  # of the network's input
_OUTPUTS = ("conv2d_21", "conv2d_31")
_REACH = 1.5  # side of the network's square, in longer sides of the mesh
_TURN = 8  # degrees to either side, as looks at one and the same square err alike; 6 to 10 serve as well
_MIDDLE = (0.5, 0.58)  # of a face in FFHQ's square, and the first look's side in sides of it
_FIRST_SIDE = 1.12
_EYES = (33, 263)  # outer corners, left and right in the image
_MIRROR = np.array([[-1.0, 0, _SIDE], [0, 1, 0], [0, 0, 1]])
# Points whose means are where CenterFace finds its five: corners and upper lid of each eye, tip and underside of the
# nose, corners of the mouth.
_FIVE = ((33, 133, 159, 160), (263, 362, 386, 387), (4, 1), (61, 146), (291, 375))


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """A face's mesh in a photograph.

    Attributes:
      points: float64 [468, 3], x and y in pixels from the upper left corner, z in pixels too, less is nearer.
      score: from 0 to 1, whether this is a face that the network can see.
    """

    points: np.ndarray
    score: float

    @property
    def five(self) -> np.ndarray:
        """float64 [5, 2]: eyes, nose, corners of the mouth, as `Face.points`."""
        return np.array([self.points[list(group), :2].mean(axis=0) for group in _FIVE])

    def inside(self, shape: Sequence[int]) -> np.ndarray:
        """Returns bool [468], which points lie in a photograph of `shape` (H, W, ...)."""
        return is_inside(self.points[:, :2], shape)

    @functools.cached_property
    def rotation(self) -> np.ndarray:
        """float64 [3, 3], the rotation of the mean frontal face that brings it nearest (Kabsch, Acta Cryst. A 1976)."""
        moved, centred = (points - points.mean(axis=0) for points in (self.points, template()))
        left, _, right = np.linalg.svd(moved.T @ centred)
        return left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right

    @property
    def angles(self) -> tuple[float, float, float]:
        """Yaw, pitch and roll in degrees, 0 for a face that looks at us.

        Roll, in (-180, 180], is positive clockwise. Yaw and pitch are those of the face made upright, whichever way it
        lies in the image: yaw is positive towards the right of its upright image, pitch towards the top.
        """
        rotation = self.rotation
        roll = np.arctan2(rotation[1, 0], rotation[0, 0])
        upright = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        ahead = -(upright @ rotation)[:, 2]
        yaw, pitch = np.arctan2(ahead[0], -ahead[2]), np.arcsin(np.clip(-ahead[1], -1, 1))
        return tuple(float(np.degrees(angle)) for angle in (yaw, pitch, roll))


def is_inside(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns bool [N], which of `points` [N, 2] lie in a photograph of `shape` (H, W, ...)."""
    return ((points >= 0) & (points <= shape[1::-1])).all(axis=1)


Measure = Callable[[np.ndarray, Face], Mesh | None]
"""(uint8 RGB [H, W, 3], a face in it) -> its mesh, or None where its five points do not lie like a face's."""


@functools.cache
def template() -> np.ndarray:
    """The mean frontal face, float64 [468, 3] in sides of FFHQ's square; symmetric about x = 0.5."""
    return np.loadtxt(_TEMPLATE_FILE, delimiter=",")


@functools.cache
def mirrored() -> np.ndarray:
    """Int [468]: for each point the number of the one on the other side of the face."""
    points = template()
    other = np.stack([1 - points[:, 0], points[:, 1], points[:, 2]], axis=1)
    return np.linalg.norm(points[None] - other[:, None], axis=2).argmin(axis=1)


def load_network() -> Callable[[np.ndarray], tuple[np.ndarray, float]]:
    """Returns the bare network: uint8 RGB [192, 192, 3] -> points float64 [468, 3] in its pixels, and the score.

    It may be called by several threads, one after the other. Raises `UserError` when it cannot be fetched.
    """
    path = str(assets.fetch(assets.FACE_MESH))
    network = cv2.dnn.readNetFromTFLite(path, cv2.dnn.ENGINE_CLASSIC)  # the new engine gives one output a run
    lock = threading.Lock()

    def run(pixels: np.ndarray) -> tuple[np.ndarray, float]:
        with lock:
            network.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255))
            points, logit = network.forward(_OUTPUTS)
        return points.reshape(POINTS, 3).astype(np.float64), float(1 / (1 + np.exp(-logit.ravel()[0])))

    return run


def load_mesh() -> Measure:
    """Returns the function that measures a face's mesh; threads and errors are those of `load_network`.

    A mirrored photograph, with the face's points mirrored, has the mirrored mesh.
    """
    network = load_network()

    def look_once(pixels: np.ndarray, square: np.ndarray) -> Mesh:
        shown = alignment.warp(pixels, alignment.invert(square), (_SIDE, _SIDE), cv2.BORDER_REPLICATE)
        points, score = network(shown)
        depth = points[:, 2:] * np.hypot(*square[:, 0])
        return Mesh(np.hstack([alignment.transform(square, points[:, :2]), depth]), score)

    def look(pixels: np.ndarray, square: np.ndarray, degrees: float) -> Mesh:
        """At the square turned by `degrees`, and as if the photograph were mirrored; so no side is favoured."""
        plain, other = (look_once(pixels, square @ way @ _turned(degrees)) for way in (np.eye(3), _MIRROR))
        return _mean(plain, Mesh(other.points[mirrored()], other.score))

    def measure(pixels: np.ndarray, face: Face) -> Mesh | None:
        try:
            placement = landmarks.fit(face.points)
        except ValueError:
            return None
        first = look(pixels, _first_square(placement), 0)  # only tells the others where the face is
        second = look(pixels, _square(first.points[:, :2]), _TURN)
        third = look(pixels, _square(second.points[:, :2]), -_TURN)
        return _mean(second, third)

    return measure


def _mean(one: Mesh, other: Mesh) -> Mesh:
    return Mesh((one.points + other.points) / 2, (one.score + other.score) / 2)


def is_sure(mesh: Mesh | None) -> bool:
    """Whether there is a mesh, and the network is sure of it."""
    return mesh is not None and mesh.score >= LEAST_SCORE


def refine(face: Face, mesh: Mesh | None) -> Face:
    """Returns the face with the mesh's five points, if the network is sure of them."""
    return dataclasses.replace(face, points=mesh.five) if is_sure(mesh) else face


def measure_all(pixels: np.ndarray, faces: Iterable[Face], measure: Measure) -> list[tuple[Face, Mesh | None]]:
    """Returns faces of a photograph, refined, each with its mesh, and none that turns out to be a former one."""
    found: list[tuple[Face, Mesh | None]] = []
    for face in faces:
        measured = measure(pixels, face)
        refined = refine(face, measured)
        if not any(detection.are_one(refined, other) for other, _ in found):
            found.append((refined, measured))
    return found


def _first_square(placement: np.ndarray) -> np.ndarray:
    """The map [2, 3] from the network's input to the photograph, by the placement of FFHQ's square."""
    scale = _FIRST_SIDE / _SIDE
    corner = np.array(_MIDDLE) - _FIRST_SIDE / 2
    return placement @ np.array([[scale, 0, corner[0]], [0, scale, corner[1]], [0, 0, 1]])


def _turned(degrees: float) -> np.ndarray:
    """The map [3, 3] that turns the network's input about its middle."""
    turn = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), degrees, 1)
    return np.vstack([turn, (0, 0, 1)])


def _square(points: np.ndarray) -> np.ndarray:
    """As `_first_square`, around a mesh, upright by its eyes."""
    right = points[_EYES[1]] - points[_EYES[0]]
    right = right / np.linalg.norm(right)
    axes = np.array([right, (-right[1], right[0])])
    inside = points @ axes.T
    low, high = inside.min(axis=0), inside.max(axis=0)
    side = _REACH * (high - low).max()
    corner = (low + high - side) / 2 @ axes
    return np.column_stack([axes.T * side / _SIDE, corner])
