"""A face that looks to a side, turned to the front by its mesh; what was hidden is taken from the other half.

After Hassner et al., CVPR 2015, with the face's own mesh in place of one shape for all. A face that looks up or down
goes on doing so, as what that hides, such as the underside of the nose, is hidden in both halves.
"""

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from faceflax.preprocessing import alignment, landmarks, mesh
from faceflax.preprocessing.alignment import Alignment
from faceflax.preprocessing.mesh import Mesh

LEAST_YAW = 4.0
"""Degrees; a face that looks less to a side is left as it is."""
MOST_YAW = 20.0
"""Degrees; a face that looks farther to a side is left as it is, as what is made of it is no longer like it."""

_REACH = 1.0  # sides of the crop around it, where the surroundings stop moving along with the face
_SEEN = (0.15, 0.5)  # cosines between the surface's normal and the view, from hidden to seen


def frontalise(
    pixels: np.ndarray, measured: Mesh, made: Alignment, template: np.ndarray, most_yaw: float = MOST_YAW
) -> tuple[np.ndarray, float]:
    """Returns a crop, uint8 RGB, of the face turned to the front, and by how many degrees of yaw it was turned.

    What surrounds the face is bent to fit.

    Args:
      pixels: the photograph, uint8 RGB [H, W, 3].
      measured: the face's mesh.
      made: the alignment of the face as it is.
      template: the points [5, 2] that the turned face is brought to, in parts of the crop's side.
      most_yaw: degrees, beyond which a face is left as it is.
    """
    yaw = measured.angles[0]
    if not LEAST_YAW <= abs(yaw) <= most_yaw:
        return made.crop(pixels), 0.0
    margin = made.size // 2  # what comes into view lies beside the crop
    wide = made.matrix + (0, 0, margin)
    shape = (made.size + 2 * margin,) * 2
    view = alignment.warp(pixels, wide, shape, cv2.BORDER_REPLICATE)
    covered = alignment.warp(np.ones(pixels.shape[:2], np.float32), wide, shape, cv2.BORDER_CONSTANT)
    source = made.to_crop(measured.points[:, :2])
    frontal = _turned(measured, made.size * template)
    far, pull = _pull(frontal, made.size)
    places = margin + pull(source, far)
    mirrored_places = margin + pull(source[mesh.mirrored()], far * (-1, 1) + (made.size, 0))
    seen = _seen(measured)
    weights = 1 - np.clip(seen[mesh.mirrored()] - seen, 0, 1)
    far_weights = (far[:, 0] < made.size / 2) == (yaw > 0)  # the half that the face is seen from
    weights = pull(weights[:, None], far_weights[:, None])[..., 0].astype(np.float32)
    # What one half has beyond the photograph's edge the other half fills, if it has it.
    weights = np.clip(weights + _sample(covered, places) - _sample(covered, mirrored_places), 0, 1)
    weights = cv2.GaussianBlur(weights, (0, 0), made.size / 64)[..., None]
    own, mirrored = _sample(view, places), _sample(view, mirrored_places)
    return np.round(weights * own + (1 - weights) * mirrored).astype(np.uint8), -yaw


def describe(measured: Mesh, turned: float) -> dict[str, Any]:
    """Returns by how many degrees a face was turned, and why not where it looks too far to a side, as JSON."""
    yaw = abs(measured.angles[0])
    if yaw <= MOST_YAW:
        return {"turned": round(turned, 1)}
    return {
        "turned": 0.0,
        "reason": f"it looks to a side by {yaw:.0f} degrees, more than the {MOST_YAW:g} that are turned",
    }


def _turned(measured: Mesh, targets: np.ndarray) -> np.ndarray:
    """float64 [468, 2]: the mesh turned to look neither left nor right, its five points brought to `targets`."""
    pitch = np.deg2rad(measured.angles[1])
    kept = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    # The inverse of a rotation is its transpose.
    turned = Mesh(measured.points @ measured.rotation @ kept.T, measured.score)
    return alignment.transform(alignment.invert(landmarks.fit(turned.five, targets)), turned.points[:, :2])


def _pull(points: np.ndarray, size: int) -> tuple[np.ndarray, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Returns places far around the crop, [N, 2], and what spreads values over it linearly, [size, size, ...].

    The values are given at the mesh's `points` and at the far places.
    """
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import Delaunay

    steps = size * np.linspace(-_REACH, 1 + _REACH, 7)
    far = np.array([(x, y) for x in steps for y in steps if {x, y} & {steps[0], steps[-1]}])
    triangles = Delaunay(np.vstack([points, far]))
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=2)
    return far, lambda values, values_far: LinearNDInterpolator(triangles, np.vstack([values, values_far]))(grid)


def _sample(view: np.ndarray, places: np.ndarray) -> np.ndarray:
    places = (places - 0.5).astype(np.float32)  # OpenCV's pixel i has its centre at i
    return cv2.remap(view, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@functools.cache
def _triangles() -> np.ndarray:
    """Int [N, 3]: triangles of the mesh, by the mean frontal face."""
    from scipy.spatial import Delaunay

    return Delaunay(mesh.template()[:, :2]).simplices


def _seen(measured: Mesh) -> np.ndarray:
    """float64 [468]: 1 where the surface faces the camera, 0 where it is turned away."""
    first, second, third = np.moveaxis(measured.points[_triangles()], 1, 0)
    normals = np.cross(second - first, third - first)
    flat = np.cross(*np.moveaxis(mesh.template()[_triangles()][:, 1:] - mesh.template()[_triangles()][:, :1], 1, 0))
    normals *= np.sign(flat[:, 2:])  # of the frontal face every normal points away from us, along z
    at_points = np.zeros_like(measured.points)
    for corner in range(3):
        np.add.at(at_points, _triangles()[:, corner], normals)
    cosines = at_points[:, 2] / np.maximum(np.linalg.norm(at_points, axis=1), 1e-9)
    return np.clip((cosines - _SEEN[0]) / (_SEEN[1] - _SEEN[0]), 0, 1)
