"""The nine degradation tasks: their names, their severities, and what each does to one picture.

Every task is `(key, image [H, W, 3] in [0, 1], severity) -> (degraded [H, W, 3] in [0, 1], mask [H, W, 1])`, pure and
with a severity that may be traced, so that a task is one branch of a program and not one a severity. The mask is 1
where pixels are missing. Lengths are given at 128 pixels and scale with the smaller side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from faceflax.degradations import blind, blur, facemask, jpeg, noise, occlusion, resize
from faceflax.errors import UserError

TASKS: dict[str, tuple[float, ...]] = {
    "sr": (2, 4, 8, 16),
    "noise": (15, 25, 50),
    "blur": (1.5, 3, 6),
    "motion": (9, 15, 25),
    "jpeg": (50, 30, 10),
    "lowlight": (1, 2, 3),
    "occlude": (10, 25, 50),
    "facemask": (1, 2),
    "blind": (1, 2, 3),
}
"""Each task's severities, from the mildest to the hardest."""

OCCLUDING = ("occlude", "facemask")
"""The tasks that hide a part of the face; of all others every mask is empty."""

Degraded = tuple[Array, Array]


@dataclass(frozen=True)
class Task:
    """A task at one severity; as text, "noise 50"."""

    name: str
    severity: float

    def __str__(self) -> str:
        return f"{self.name} {self.severity:g}"


def parse(specs: Sequence[str]) -> tuple[tuple[Task, ...], ...]:
    """Returns the groups that training draws from: a group uniformly, then one of its severities.

    "noise" is a group of all its severities, "noise 50" a group of one, "mixed" one group for each task. Raises
    `UserError` for an unknown task or severity, and when there is none.
    """
    groups = []
    for spec in specs:
        if spec.strip() == "mixed":
            groups += [_group(name) for name in TASKS]
        else:
            groups.append(_group(spec))
    if not groups:
        raise UserError(f'no degradation task is given: write "mixed" or some of {", ".join(TASKS)}')
    return tuple(groups)


def flatten(specs: Sequence[str]) -> tuple[Task, ...]:
    """Returns every task and severity that `specs` names, each once, in order: the rows of an evaluation table."""
    return tuple(dict.fromkeys(task for group in parse(specs) for task in group))


def _group(spec: str) -> tuple[Task, ...]:
    name, _, severity = spec.strip().partition(" ")
    if name not in TASKS:
        raise UserError(f'"{name}" is not a degradation task: write "mixed" or one of {", ".join(TASKS)}')
    if not severity:
        return tuple(Task(name, value) for value in TASKS[name])
    if severity.strip() not in (f"{value:g}" for value in TASKS[name]):
        values = ", ".join(f"{value:g}" for value in TASKS[name])
        raise UserError(f'"{severity.strip()}" is not a severity of {name}: write one of {values}')
    return (Task(name, float(severity)),)


def _unit(image: Array) -> float:
    return min(image.shape[:2]) / 128


def _whole(image: Array) -> Degraded:
    """A degraded image of which no pixel is missing."""
    return jnp.clip(image, 0.0, 1.0), jnp.zeros_like(image[..., :1])


def super_resolution(key: Array, image: Array, severity: Array | float) -> Degraded:
    """Antialiased bicubic down by `severity`, and bicubic up again."""
    return _whole(resize.down_up(image, severity))


def gaussian_noise(key: Array, image: Array, severity: Array | float) -> Degraded:
    """White Gaussian noise of standard deviation `severity`/255, clipped."""
    return _whole(noise.add_gaussian(key, image, severity))


def gaussian_blur(key: Array, image: Array, severity: Array | float) -> Degraded:
    """A Gaussian of standard deviation `severity` pixels, then noise of 2/255.

    Half of the time the kernel is anisotropic: its smaller deviation is U(0.25, 1) of the larger, at any angle.
    """
    parameter_key, noise_key = jax.random.split(key)
    draw = jax.random.uniform(parameter_key, (3,))
    sigma = severity * _unit(image)
    smaller = sigma * jnp.where(draw[0] < 0.5, 1.0, 0.25 + 0.75 * draw[1])
    radius = int(np.ceil(3 * max(TASKS["blur"]) * _unit(image)))
    kernel = blur.gaussian_kernel(radius, sigma, smaller, np.pi * draw[2])
    return _whole(noise.add_gaussian(noise_key, blur.filter2d(image, kernel), 2.0))


def motion_blur(key: Array, image: Array, severity: Array | float) -> Degraded:
    """A line of `severity` pixels at any angle."""
    return _whole(blur.filter2d(image, blur.line_kernel(*_line(key, image, severity))))


def varied_motion_blur(key: Array, image: Array, severity: Array | float) -> Degraded:
    """As `motion_blur`, but a quarter of the lines are jagged, as some programs draw them."""
    angle_key, choice_key = jax.random.split(key)
    line = _line(angle_key, image, severity)
    is_jagged = jax.random.uniform(choice_key) < 0.25
    return _whole(blur.filter2d(image, jnp.where(is_jagged, blur.jagged_line_kernel(*line), blur.line_kernel(*line))))


def _line(key: Array, image: Array, severity: Array | float) -> tuple[int, Array | float, Array]:
    """The radius, length and angle of a motion."""
    radius = int(np.ceil(max(TASKS["motion"]) * _unit(image) / 2)) + 1
    return radius, severity * _unit(image), jax.random.uniform(key, maxval=np.pi)


def jpeg_compression(key: Array, image: Array, severity: Array | float) -> Degraded:
    """JPEG 4:2:0 at quality `severity`."""
    return _whole(jpeg.compress(image, severity))


def low_light(key: Array, image: Array, severity: Array | float) -> Degraded:
    """Under-exposure, exposure * image ** gamma (Lv et al., IJCV 2021, eq. 1), then noise.

    Severities 1, 2, 3: exposure 0.6, 0.3, 0.15; gamma 1.5, 2.5, 3; noise 2, 5, 10 of 255.
    """
    level = jnp.asarray(severity, jnp.int32) - 1
    exposure, gamma, sigma = jnp.array([(0.6, 1.5, 2.0), (0.3, 2.5, 5.0), (0.15, 3.0, 10.0)])[level]
    dark = exposure * jnp.exp(gamma * jnp.log(image))  # a power, which CPUs take four times as long for
    return _whole(noise.add_gaussian(key, dark, sigma))


def occlude(key: Array, image: Array, severity: Array | float) -> Degraded:
    """A hole over `severity` percent of the area, filled with mid-grey."""
    hole = occlusion.draw_hole(key, *image.shape[:2], severity / 100.0)[..., None]
    return jnp.where(hole > 0, occlusion.HOLE_COLOUR, image), hole


def face_mask(key: Array, image: Array, severity: Array | float) -> Degraded:
    """A surgical mask; from severity 2 on dark glasses too. What covers the face counts as missing."""
    cloth_key, glasses_key = jax.random.split(key)
    cloth = facemask.surgical_mask(cloth_key, *image.shape[:2])
    glasses = facemask.dark_glasses(glasses_key, *image.shape[:2])
    has_glasses = glasses.covers & (jnp.asarray(severity) >= 2)
    image = jnp.where(has_glasses[..., None], glasses.colour, image)
    image = jnp.where(cloth.covers[..., None], cloth.colour, image)
    return image, (cloth.covers | has_glasses)[..., None].astype(jnp.float32)


def blind_degradation(key: Array, image: Array, severity: Array | float) -> Degraded:
    """Blur, down, noise, JPEG and resize back, as `faceflax.degradations.blind` says."""
    return _whole(blind.degrade(key, image, severity))


FUNCTIONS: dict[str, Callable[[Array, Array, Array | float], Degraded]] = {
    "sr": super_resolution,
    "noise": gaussian_noise,
    "blur": gaussian_blur,
    "motion": motion_blur,
    "jpeg": jpeg_compression,
    "lowlight": low_light,
    "occlude": occlude,
    "facemask": face_mask,
    "blind": blind_degradation,
}
"""What each of `TASKS` does, in evaluation."""

TRAINING_FUNCTIONS = FUNCTIONS | {"motion": varied_motion_blur}
"""What each does in training, where there is more than evaluation shows: others draw damage in their own ways."""
