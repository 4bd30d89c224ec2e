"""Measures whether the chain of `faceflax normalize` helps to recognise people: the table of docs/preprocessing.md.

python docs/measure_chain.py [--template ffhq] [--probes 9] [--parts]

On the 40 people of orl_faces, 92x112: the first of each one's ten photographs is the gallery, the next ones are the
probes, made darker or noisy by the degradation tasks. Each is embedded by faceres: `whole` as it is, or cut out by the
chain, only `aligned`, or in better light and without noise (`chain`); with --parts also `relit` or `denoised` alone.
The gallery, undamaged, goes the same way as the probes. A probe where no face is found, or it is refused, is a miss.
Intervals are 95% of a bootstrap over people.
"""

import argparse
import hashlib
from collections.abc import Callable

import jax
import numpy as np

from faceflax.datasets import registry
from faceflax.datasets.images import decode
from faceflax.degradations.batch import degrade_for_evaluation
from faceflax.degradations.tasks import Task
from faceflax.errors import run_main
from faceflax.evaluation.statistics import bootstrap
from faceflax.models.face_encoder import faceres
from faceflax.preprocessing import chain, detection, mesh
from faceflax.preprocessing.alignment import TEMPLATES
from faceflax.preprocessing.chain import Settings

_DAMAGES = (
    (),
    *((Task("lowlight", level),) for level in (1, 2)),
    *((Task("noise", level),) for level in (25, 50)),
    (Task("lowlight", 1), Task("noise", 15)),
    *((Task("lowlight", 2), Task("noise", level)) for level in (5, 15)),
    (Task("lowlight", 3),),
)
_WAYS = {"aligned": (False, False), "chain": (True, True)}
_PARTS = {"relit": (True, False), "denoised": (False, True)}
_BATCH = 40

Embed = Callable[[list[np.ndarray]], np.ndarray]


def main() -> None:
    """Prints a line of the table for each damage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--template", default="ffhq", choices=list(TEMPLATES))
    parser.add_argument("--probes", default=9, type=int, choices=range(1, 10), help="of each person")
    parser.add_argument("--parts", action="store_true", help="measure light and noise apart, too")
    arguments = parser.parse_args()
    chosen = _WAYS | (_PARTS if arguments.parts else {})
    images, people = _photographs(1 + arguments.probes)
    is_gallery = np.zeros(len(people), bool)
    is_gallery[np.unique(people, return_index=True)[1]] = True
    detect, measure, embed = detection.load_detector(), mesh.load_mesh(), _embedder()

    def ways(images: np.ndarray) -> dict[str, np.ndarray]:
        """Vectors [N, 1024] of the images by each way; zeros where no face is found and taken."""
        vectors = {"whole": embed(list(images))}
        found = [_find(image, detect, measure) for image in images]
        for way, (relight, denoise) in chosen.items():
            settings = Settings(faceres.SIZE, arguments.template, relight=relight, denoise=denoise, max_yaw=90)
            crops = [None if faces is None else chain.normalise_face(*faces, settings).pixels for faces in found]
            has_crop = [crop is not None for crop in crops]
            vectors[way] = np.zeros_like(vectors["whole"])
            vectors[way][has_crop] = embed([crop for crop in crops if crop is not None])
        return vectors

    gallery = ways(images[is_gallery])
    print("| damage |", " | ".join(gallery), "| chain over aligned |")
    for damage in _DAMAGES:
        probes = ways(_damage(images, damage)[~is_gallery])
        rights = {way: _is_right(gallery[way], probes[way]).reshape(-1, arguments.probes) for way in gallery}
        cells = [_cell(right) for right in rights.values()]
        cells.append(_cell(rights["chain"].astype(float) - rights["aligned"], "+"))
        print(f"| {' + '.join(map(str, damage)) or 'none'} |", " | ".join(cells), "|", flush=True)


def _photographs(shots: int) -> tuple[np.ndarray, np.ndarray]:
    """The first photographs of each person, uint8 [N, 112, 92, 3], and whose each is."""
    sources = [registry.load("orl_faces", split) for split in ("train", "test")]
    rows = [source[number] for source in sources for number in range(len(source))]
    people = np.array([row["identity"] for row in rows])
    firsts = np.sort(np.concatenate([np.flatnonzero(people == person)[:shots] for person in np.unique(people)]))
    return np.stack([decode(rows[number]["image"]) for number in firsts]), people[firsts]


def _embedder() -> Embed:
    """What embeds crops, each that is the same as an earlier one from memory."""
    params, run, known = faceres.load(), jax.jit(faceres.embed), {}

    def embed(images: list[np.ndarray]) -> np.ndarray:
        keys = [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
        for start in range(0, len(new), _BATCH):
            names, batch = (part[start : start + _BATCH] for part in (list(new), list(new.values())))
            padded = np.stack(batch + batch[:1] * (_BATCH - len(batch))).astype(np.float32) / 255
            known.update(zip(names, np.asarray(run(params, padded)), strict=False))
        return np.stack([known[key] for key in keys])

    return embed


def _find(image: np.ndarray, detect: detection.Detect, measure: mesh.Measure) -> tuple | None:
    faces = detect(image)
    return (image, faces[0], measure(image, faces[0])) if faces else None


def _damage(images: np.ndarray, damage: tuple[Task, ...]) -> np.ndarray:
    values, numbers = images.astype(np.float32) / 255, np.arange(len(images))
    for task in damage:
        values = np.clip(degrade_for_evaluation(values, numbers, task)[0], 0, 1)
    return np.round(255 * np.asarray(values)).astype(np.uint8)


def _is_right(gallery: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """Bool [N]: whether each probe is nearest to its own person's photograph; probes are in the order of people."""
    nearest = (probes @ gallery.T).argmax(axis=1)
    return (nearest == np.arange(len(probes)) // (len(probes) // len(gallery))) & probes.any(axis=1)


def _cell(right: np.ndarray, sign: str = "") -> str:
    """The mean of values [people, probes] in percent, with its interval over people."""
    mean, low, high = (100 * value for value in bootstrap(right.mean(axis=1)))
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


if __name__ == "__main__":
    run_main(main)
