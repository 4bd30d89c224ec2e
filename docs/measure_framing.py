"""Measures how much of a photograph a face encoder should see: the table "Framing" of docs/recognition.md.

python docs/measure_framing.py [--encoder faceres]

On the 400 photographs of orl_faces, 92x112, each framed in every way: AUC and the share that passes at 1 in 1,000 false
ones over all pairs; rank-1 with the first photograph of each of the 40 people as the gallery, the others as probes.
"""

import argparse

import cv2
import numpy as np

from faceflax.datasets import registry
from faceflax.datasets.images import decode
from faceflax.errors import run_main
from faceflax.models import face_encoder
from faceflax.preprocessing import detection
from faceflax.recognition import verification
from faceflax.recognition.embedding import Cut, Embedder, photographed, whole
from faceflax.training import runtime


def main() -> None:
    """Prints a line of the table for each framing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default=face_encoder.DEFAULT, choices=face_encoder.NAMES)
    encoder = face_encoder.create(parser.parse_args().encoder)
    runtime.start()
    size, detect = encoder.image_size, detection.load_detector()
    stretch = whole(size)
    framings: dict[str, Cut] = {
        "the whole photograph, stretched to a square (`--aligned`)": stretch,
        "the whole photograph, mirrored at the sides to a square": lambda pixels: stretch(_mirrored(pixels)),
        "its central square": lambda pixels: stretch(_centre(pixels, min(pixels.shape[:2]))),
        "found, turned and framed as FFHQ's (without `--aligned`)": photographed(detect, size, largest=True),
        "the same, the inner 0.8 of the side": _inner(detect, size, 0.8),
        "the inner 0.6": _inner(detect, size, 0.6),
    }
    embedder = Embedder(encoder, stretch, 16)
    photographs, people = _photographs()
    print("| what the encoder sees | AUC | rank-1 | pass |\n| --- | --- | --- | --- |")
    for name, cut in framings.items():
        crops = [cut(photograph) for photograph in photographs]
        print(f"| {name} | {' | '.join(_cells(embedder.pixels(crops), people))} |", flush=True)


def _photographs() -> tuple[list[np.ndarray], np.ndarray]:
    """All photographs of the 40 people, and whose each is, [400]."""
    sources = [registry.load("orl_faces", split) for split in ("train", "test")]
    rows = [source[number] for source in sources for number in range(len(source))]
    return [decode(row["image"]) for row in rows], np.array([row["identity"] for row in rows])


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    missing = height - width
    return cv2.copyMakeBorder(pixels, 0, 0, missing // 2, missing - missing // 2, cv2.BORDER_REFLECT)


def _centre(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _inner(detect: detection.Detect, size: int, share: float) -> Cut:
    """As `photographed`, but only the middle of FFHQ's frame, with `share` of its side."""
    framed = photographed(detect, round(size / share), largest=True)
    return lambda pixels: _centre(framed(pixels), size)


def _cells(vectors: np.ndarray, people: np.ndarray) -> list[str]:
    similarity = vectors @ vectors.T
    curve = verification.roc(verification.pairs(similarity, people, once=True))
    enrolled = np.zeros(len(people), bool)
    enrolled[np.unique(people, return_index=True)[1]] = True
    found = verification.found_within(similarity[enrolled][:, ~enrolled], people[enrolled], people[~enrolled])
    return [
        f"{verification.auc(curve):.5f}",
        f"{found.mean():.4f}",
        f"{verification.tar_at_far(curve, 1e-3):.4f}",
    ]


if __name__ == "__main__":
    run_main(main)
