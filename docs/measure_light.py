"""Measures how many good photographs the chain's light and noise stages would change: the figures of preprocessing.md.

python docs/measure_light.py [--split train] [--count 400]

On faces of mini_faces, framed as FFHQ's and in good light, at 128 pixels: the share that each correction would
touch and how far it goes, and the noise that is estimated of them, as they are and with noise of 5 of 255 added.
"""

import argparse

import numpy as np

from faceflax.datasets import registry
from faceflax.datasets.images import decode
from faceflax.errors import run_main
from faceflax.preprocessing import denoise, relight
from faceflax.preprocessing.landmarks import TEMPLATE

_NOTHING = {"gamma": 1.0, "slope": 0.0, "contrast": 0.0, "red": 1.0, "blue": 1.0}


def main() -> None:
    """Prints the shares and the noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", default="train")
    parser.add_argument("--count", default=400, type=int, help="of faces")
    arguments = parser.parse_args()
    source = registry.load("mini_faces", arguments.split)
    faces = [decode(source[number]["image"]) for number in range(min(arguments.count, len(source)))]
    done = [relight.relight(face, relight.oval(len(face), TEMPLATE))[1] for face in faces]
    print(f"{len(faces)} faces")
    for name, nothing in _NOTHING.items():
        values = np.array([each[name] for each in done])
        print(f"{name}: {100 * np.mean(values != nothing):.1f}% changed, from {values.min():.2f} to {values.max():.2f}")
    print(f"none of these: {100 * np.mean([each == _NOTHING for each in done]):.1f}%")
    rng = np.random.default_rng(0)
    for added in (0, 5):
        noisy = [np.clip(np.round(face + rng.normal(0, added, face.shape)), 0, 255).astype(np.uint8) for face in faces]
        found = np.array([denoise.estimate(face) for face in noisy])
        share = 100 * np.mean(found >= denoise.LEAST_SIGMA)
        print(f"noise of {added}: estimated {np.median(found):.2f}, at most {found.max():.2f}; {share:.1f}% denoised")


if __name__ == "__main__":
    run_main(main)
