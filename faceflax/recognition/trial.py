"""A trial of recognition: labelled faces, damaged and restored in every way, and what each encoder sees in them.

What a way makes of one task is kept as vectors in a file, so that a trial that was stopped goes on where it was.
"""

import functools
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from faceflax import degradations, models
from faceflax.datasets import images
from faceflax.degradations import Task, degrade_for_evaluation
from faceflax.errors import UserError
from faceflax.evaluation.benchmark.cells import fingerprint
from faceflax.evaluation.judges.dlib_judge import DIMENSION, DlibJudge
from faceflax.files import atomic_path
from faceflax.models import face_encoder
from faceflax.recognition import embedding
from faceflax.training import trained as trained_lib
from faceflax.training.parallel import Parallel

JUDGE = "dlib"
"""The encoder that no loss knows; see `evaluation.judges.dlib_judge`."""

CLEAN = "clean"
"""The way that leaves the faces as they are."""

DEGRADED = "degraded"
"""The way that damages them and restores nothing."""

_FORMAT = 1  # of the files, and of how faces reach the encoders


class Faces(NamedTuple):
    """Photographs uint8 [N, S, S, 3], RGB, and the people on them, numbered from 0 in order of appearance [N]."""

    image: np.ndarray
    person: np.ndarray


class Describer(NamedTuple):
    """An encoder: its version, and `describe(images uint8 [N, S, S, 3]) -> unit vectors [N, D]`."""

    version: str
    describe: Callable[[np.ndarray], np.ndarray]


class Restorer(NamedTuple):
    """A restorer: what decides its results, and `restore(images, masks)`, both float32 [B, S, S, C] in [0, 1]."""

    version: str
    restore: Callable[[np.ndarray, np.ndarray], np.ndarray]


def load_faces(source: Sequence[Mapping[str, Any]], label: str, size: int, canvas: float) -> Faces:
    """Returns the photographs of `source` at `size` pixels with the people that its feature `label` names.

    Each is centred on a square whose side is `canvas` times its longer side, its edges repeated outwards: faces that
    are cut out more tightly than FFHQ's get FFHQ's proportions, which the degradations and restorers expect. With
    `canvas` 0 it is stretched to the square. Raises `UserError` when there is no such feature, no photograph, or no
    two people with two photographs each.
    """
    if not len(source) or label not in source[0]:
        raise UserError(
            f"recognition needs examples with the feature {label!r}; set config.data.label to one they have"
        )
    examples = [source[number] for number in range(len(source))]
    stretch = embedding.whole(size)
    pictures = np.stack([stretch(_on_canvas(images.decode(example["image"]), canvas)) for example in examples])
    names = [example[label] for example in examples]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    person = np.array([numbers[name] for name in names])
    if (np.bincount(person) > 1).sum() < 2:
        raise UserError("recognition needs at least two people with two photographs each")
    return Faces(pictures, person)


def _on_canvas(image: np.ndarray, canvas: float) -> np.ndarray:
    if not canvas:
        return image
    height, width = image.shape[:2]
    side = round(canvas * max(height, width))
    top, left = (side - height) // 2, (side - width) // 2
    borders = (top, side - height - top, left, side - width - left)
    return cv2.copyMakeBorder(image, *borders, cv2.BORDER_REPLICATE)


def load_describers(names: Iterable[str], devices: Parallel, batch_size: int) -> dict[str, Describer]:
    """Returns the encoders `names`, of `face_encoder.NAMES` and `JUDGE`; raises `UserError` where one cannot be had."""
    return {name: _judge() if name == JUDGE else _encoder(name, devices, batch_size) for name in names}


def _judge() -> Describer:
    judge = DlibJudge()
    return Describer(
        judge.version, lambda pictures: judge(pictures) if len(pictures) else np.zeros((0, DIMENSION), np.float32)
    )


def _encoder(name: str, devices: Parallel, batch_size: int) -> Describer:
    encoder, params = face_encoder.load(name)
    params = devices.replicate(params)
    run = devices.compile_batched(lambda params, image: encoder.embed(params, image.astype(jnp.float32) / 255))

    def describe(pictures: np.ndarray) -> np.ndarray:
        return _in_batches(lambda batch: np.asarray(run(params, batch)), batch_size, pictures)

    return Describer(encoder.version, describe)


def load_restorers(named: Sequence[str], devices: Parallel) -> dict[str, Restorer]:
    """Returns restorers by the names of the tables; `named` are as `training.trained.load_restorers` takes them."""
    restorers = {}
    for name, trained in trained_lib.load_restorers(named, (CLEAN, DEGRADED)).items():
        apply, params = models.create(trained.config.model).apply, devices.replicate(trained.params)
        run = devices.compile_batched(lambda params, batch, apply=apply: apply(params, batch["image"], batch["mask"]))
        restore = lambda image, mask, run=run, params=params: np.asarray(run(params, {"image": image, "mask": mask}))  # noqa: E731
        restorers[name] = Restorer(f"step {trained.info['step']}, {fingerprint(trained.params)}", restore)
    return restorers


class Trial:
    """The vectors of `faces` in every way, from files where these are of the same faces, encoders and restorers."""

    def __init__(
        self,
        faces: Faces,
        describers: Mapping[str, Describer],
        restorers: Mapping[str, Restorer],
        *,
        folder: Path,
        devices: Parallel,
        batch_size: int,
    ):
        """`folder` is where the files lie; a batch of `batch_size` images is damaged and restored at once."""
        self._faces, self._describers, self._restorers = faces, describers, restorers
        self._folder, self._devices, self._batch_size = folder, devices, batch_size
        self._images = fingerprint([faces.image])

    def vectors(self, way: str, task: Task | None) -> dict[str, np.ndarray]:
        """Returns, by encoder, the unit vectors [N, D] of the faces under `task`, restored by `way`.

        `way` is `CLEAN`, with no task, `DEGRADED`, or a restorer's name. What happens to image i is a function of the
        task and i alone, the same for every way.
        """
        restorer = self._restorers[way].version if way in self._restorers else ""
        made_from = {"format": _FORMAT, "images": self._images, "restorer": restorer, "damage": task and _damage()}
        found, pictures = {}, None
        for name, describer in self._describers.items():
            file = self._folder / name / way / f"{task or CLEAN}.npz".replace(" ", "_")
            expected = made_from | {"encoder": describer.version}
            found[name] = _read(file, expected)
            if found[name] is None:
                if pictures is None:
                    pictures = self._faces.image if task is None else self._pictures(way, task)
                found[name] = describer.describe(pictures)
                with atomic_path(file) as temporary:
                    np.savez(temporary, made_from=np.array(json.dumps(expected)), vectors=found[name])
        return found

    def _pictures(self, way: str, task: Task) -> np.ndarray:
        """The faces under `task`, restored by `way`, as a file of 8 bits would hold them."""
        degrade = self._devices.compile_batched(
            lambda _, batch: degrade_for_evaluation(batch["image"].astype(jnp.float32) / 255, batch["index"], task)
        )

        def one(image: np.ndarray, index: np.ndarray) -> np.ndarray:
            degraded, mask = jax.device_get(degrade(None, {"image": image, "index": index}))
            degraded = np.round(degraded * 255).astype(np.uint8)
            if way == DEGRADED:
                return degraded
            restored = self._restorers[way].restore(degraded.astype(np.float32) / 255, mask)
            return np.round(np.clip(np.nan_to_num(restored), 0, 1) * 255).astype(np.uint8)

        return _in_batches(one, self._batch_size, self._faces.image, np.arange(len(self._faces.image), dtype=np.int32))


@functools.cache
def _damage() -> str:
    """Stands for the code that damages faces, and what it is compiled by."""
    files = sorted(Path(degradations.__file__).parent.rglob("*.py"))
    return face_encoder.short_hash(jax.__version__, *(file.read_text(encoding="utf-8") for file in files))


def _in_batches(function: Callable[..., np.ndarray], size: int, *arrays: np.ndarray) -> np.ndarray:
    """Applies `function` to batches of `size` rows; the last is filled up with its first row, then cut again."""
    results = []
    for start in range(0, len(arrays[0]), size):
        parts = [array[start : start + size] for array in arrays]
        count = len(parts[0])
        parts = [np.concatenate([part, np.repeat(part[:1], size - count, axis=0)]) for part in parts]
        results.append(function(*parts)[:count])
    return np.concatenate(results)


def _read(file: Path, made_from: Mapping[str, Any]) -> np.ndarray | None:
    """The vectors in `file`; None when there are none, or of something else."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["vectors"] if json.loads(arrays["made_from"].item()) == made_from else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or damaged: made again
        return None
