"""Measures whether the chain of `faceflax normalize` helps to recognise people: the table of docs/preprocessing.md.

python docs/measure_chain.py [--template arcface]

On the 400 photographs of orl_faces, 92x112: the first of each person's ten is the gallery, the other nine are the
probes, made darker or noisy by the degradation tasks. Each is embedded by faceres: `whole` as it is, or cut out by the
chain, only `aligned`, also `relit` or `denoised`, or both (`chain`). The gallery, undamaged, goes the same way as the
probes. A probe where no face is found is a miss.
"""

import argparse
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from faceflax.datasets import registry
from faceflax.datasets.images import decode
from faceflax.degradations.tasks import FUNCTIONS
from faceflax.errors import run_main
from faceflax.models.face_encoder import faceres
from faceflax.preprocessing import chain, detection, mesh
from faceflax.preprocessing.alignment import TEMPLATES
from faceflax.preprocessing.chain import Settings

_DAMAGES = (
    (),
    *((("lowlight", level),) for level in (1, 2, 3)),
    *((("noise", level),) for level in (25, 50)),
    (("lowlight", 2), ("noise", 15)),
)
_WAYS = {"aligned": (False, False), "relit": (True, False), "denoised": (False, True), "chain": (True, True)}
_BATCH = 40

Embed = Callable[[list[np.ndarray]], np.ndarray]


def main() -> None:
    """Prints a line of the table for each damage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--template", default="ffhq", choices=list(TEMPLATES))
    arguments = parser.parse_args()
    images, people = _photographs()
    is_gallery = np.zeros(len(people), bool)
    is_gallery[np.unique(people, return_index=True)[1]] = True
    detect, measure, embed = detection.load_detector(), mesh.load_mesh(), _embedder()

    def ways(images: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors [N, 1024] of the images by each way; zeros where no face is found."""
        vectors = {"whole": embed(images)}
        found = [_find(image, detect, measure) for image in images]
        has_face = np.array([faces is not None for faces in found])
        for way, (relight, denoise) in _WAYS.items():
            settings = Settings(224, arguments.template, relight=relight, denoise=denoise, max_yaw=90)
            crops = [chain.normalise_face(*faces, settings).pixels for faces in found if faces is not None]
            vectors[way] = np.zeros_like(vectors["whole"])
            vectors[way][has_face] = embed(crops)
        return vectors

    gallery = ways([image for image, chosen in zip(images, is_gallery, strict=True) if chosen])
    print("| damage |", " | ".join(gallery), "|")
    for damage in _DAMAGES:
        probes = ways([_damage(image, damage, i) for i, image in enumerate(images) if not is_gallery[i]])
        scores = [_rank_1(gallery[way], people[is_gallery], probes[way], people[~is_gallery]) for way in gallery]
        name = " + ".join(f"{task} {level}" for task, level in damage) or "none"
        print(f"| {name} |", " | ".join(f"{100 * score:.1f}" for score in scores), "|", flush=True)


def _photographs() -> tuple[list[np.ndarray], np.ndarray]:
    """All photographs, uint8 [112, 92, 3], and whose each is."""
    sources = [registry.load("orl_faces", split) for split in ("train", "test")]
    rows = [source[number] for source in sources for number in range(len(source))]
    return [decode(row["image"]) for row in rows], np.array([row["identity"] for row in rows])


def _embedder() -> Embed:
    params, run = faceres.load(), jax.jit(faceres.embed)

    def embed(images: list[np.ndarray]) -> np.ndarray:
        batches = [np.stack(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
        return np.concatenate([np.asarray(run(params, batch.astype(np.float32) / 255)) for batch in batches])

    return embed


def _find(image: np.ndarray, detect: detection.Detect, measure: mesh.Measure) -> tuple | None:
    faces = detect(image)
    return (image, faces[0], measure(image, faces[0])) if faces else None


def _damage(image: np.ndarray, damage: tuple, number: int) -> np.ndarray:
    values = jnp.asarray(image, jnp.float32) / 255
    for part, (task, level) in enumerate(damage):
        key = jax.random.fold_in(jax.random.key(number), part)
        values = jnp.clip(FUNCTIONS[task](key, values, level)[0], 0, 1)
    return np.asarray(jnp.round(255 * values), np.uint8)


def _rank_1(gallery: np.ndarray, gallery_people: np.ndarray, probes: np.ndarray, people: np.ndarray) -> float:
    is_right = gallery_people[(probes @ gallery.T).argmax(axis=1)] == people
    return float((is_right & probes.any(axis=1)).mean())


if __name__ == "__main__":
    run_main(main)
