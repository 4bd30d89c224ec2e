"""The face prior for programs on the host: one face at a time, as numpy arrays."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from faceflax.datasets.synthetic_faces import recipe
from faceflax.models import face_prior
from faceflax.models.face_prior import network, sampling, synthesis
from faceflax.training import parallel


class FaceGenerator:
    """Makes the faces of `synthetic_faces` and `synthetic_people`, as `recipe.FaceGenerator` says.

    Compiles at the first face of each size. Raises `UserError` when the weights cannot be fetched.
    """

    def __init__(self) -> None:
        self._devices = parallel.one_device()
        self._params = self._devices.replicate(face_prior.load())

    def face(self, seed: int, number: int, size: int) -> np.ndarray:
        """Made at 1024 pixels, whatever the size, and then shrunk: the recipe of the faces in the box."""
        z, psi = recipe.draw(seed, number)
        image = self._make(_whole_face)(self._params, {"z": z, "psi": np.float32([[psi]])})
        return recipe.shrink(recipe.to_bytes(np.asarray(image)[0]), size)

    def picture(self, seed: int, person: int, number: int, size: int) -> np.ndarray:
        """Made at the least of the prior's sizes that will do, then shrunk."""
        made_at = min(each for each in synthesis.SIZES if each >= size)
        names = {"seed": seed, "person": person, "number": number}
        image = self._make(_picture, made_at)(self._params, {k: np.uint32([v]) for k, v in names.items()})
        return recipe.shrink(np.asarray(image)[0], size)

    @functools.cache  # noqa: B019 (one object lives as long as the program)
    def _make(self, function: Callable, *arguments: Any) -> Callable:
        return self._devices.compile_batched(functools.partial(function, *arguments))


def _whole_face(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    style = network.truncate(params, network.map_to_style(params, batch["z"]), batch["psi"])
    return synthesis.synthesise(params, style)


def _picture(size: int, params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    key = jax.random.key(batch["seed"][0], impl="threefry2x32")
    return sampling.draw_people(params, key, batch["person"], batch["number"], size)
