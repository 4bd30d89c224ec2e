"""The threshold that comes with a face encoder: python -m experiments.thresholds [--encoder=faceres --others=FOLDER].

Takes the largest of four: that at --rate over all pairs of the ORL people s1 to s20 (grey photographs, ten each), and
that at --alike_rate over pairs of synthetic faces, who are more alike than people are; each both of the pictures as
they are cut and of the faces that the detector finds in them. Prints the entry of calibration.DEFAULTS, whose rates
are those of the set where they are worst, the ORL test people among them, and what it does on each set and on the
folders of --others.
"""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments import program
from faceflax.errors import UserError

if TYPE_CHECKING:
    from faceflax.models.face_encoder import FaceEncoder
    from faceflax.recognition.calibration import Calibration
    from faceflax.recognition.embedding import Cut, Embedder

Scores = tuple[np.ndarray, np.ndarray]  # of pairs of one person, of pairs of different people

_ENCODER = flags.DEFINE_string("encoder", "faceres", "The face encoder.")
_RATE = flags.DEFINE_float("rate", 1e-3, "Share of the pairs of different ORL people that may pass.")
_ALIKE_RATE = flags.DEFINE_float("alike_rate", 1e-2, "Share of the pairs of synthetic faces that may pass.")
_OTHERS = flags.DEFINE_multi_string("others", [], "A folder of aligned faces, each of another person; may be repeated.")


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    from faceflax.models import face_encoder
    from faceflax.preprocessing import detection
    from faceflax.recognition import calibration
    from faceflax.recognition.embedding import Embedder, photographed, whole
    from faceflax.training import runtime

    calibration.check_rate(_RATE.value)
    calibration.check_rate(_ALIKE_RATE.value)
    others = {Path(folder).name: _images(folder) for folder in _OTHERS.value}
    runtime.start()
    encoder = face_encoder.create(_ENCODER.value)
    size = encoder.image_size
    cuts = {"whole": whole(size), "found": photographed(detection.load_detector(), size, largest=True)}
    embedder = Embedder(encoder, cuts["whole"], 16)
    threshold, scores = choose(embedder, cuts, _RATE.value, _ALIKE_RATE.value)
    print(entry(encoder, threshold, scores))
    for name, paths in others.items():
        faces = [face for batch in embedder.files(paths, _complain, lambda: None) for face in batch]
        scores[name] = calibration.pair_scores(np.stack([face.vector for face in faces]), np.arange(len(faces)))
    for name, (same, different) in scores.items():
        kept = f"; {np.sum(same > threshold)} of {len(same)} pairs of one person" if len(same) else ""
        print(f"{name}: {np.sum(different > threshold)} of {len(different)} pairs of different people pass{kept}")
    return 0


def choose(
    embedder: "Embedder", cuts: "Mapping[str, Cut]", rate: float, alike_rate: float
) -> tuple[float, dict[str, Scores]]:
    """Returns the threshold, rounded up to four places, and the scores of every set under every cut, by their names."""
    from faceflax.recognition import calibration

    scores, alone = {}, {}
    for framing, cut in cuts.items():
        for name, *where, allowed in (
            ("ORL s1-s20", "orl_faces", "train", rate),
            ("synthetic faces", "mini_faces", "all", alike_rate),
        ):
            scores[f"{name} {framing}"] = pairs = measure(embedder, cut, *where, framing)
            alone[f"{name} {framing}"] = calibration.threshold_at(pairs[1], allowed)
    threshold = math.ceil(max(alone.values()) * 1e4) / 1e4
    print("alone:", ", ".join(f"{name} {value:.4f}" for name, value in alone.items()), f"; chosen: {threshold}")
    for framing, cut in cuts.items():
        scores[f"ORL s21-s40 {framing}"] = measure(embedder, cut, "orl_faces", "test", framing)
    return threshold, scores


def measure(embedder: "Embedder", cut: "Cut", name: str, split: str, framing: str) -> Scores:
    """Returns the scores of the pairs of one person, and of different people, in a dataset's split."""
    from faceflax.datasets import images, registry
    from faceflax.recognition import calibration

    source = registry.load(name, split)
    people, crops = [], []
    for index in range(len(source)):
        picture = images.decode(source[index]["image"])
        with contextlib.suppress(ValueError):  # no face is found: counted below
            crops.append(cut(picture))
            people.append(source[index].get("identity", index))
    print(f"{name} {split} {framing}: {len(crops)} of {len(source)} faces")
    return calibration.pair_scores(embedder.pixels(crops), np.array(people))


def entry(encoder: "FaceEncoder", threshold: float, scores: Mapping[str, Scores]) -> "Calibration":
    """Returns the entry of `calibration.DEFAULTS`: the rates of the sets where the threshold does worst."""
    from faceflax.recognition.calibration import Calibration

    passed = {name: float(np.mean(different > threshold)) for name, (_, different) in scores.items()}
    worst, known = max(passed, key=passed.get), min(scores, key=lambda name: _kept(scores[name][0], threshold))
    return Calibration(
        encoder=encoder.name,
        version=encoder.version,
        threshold=threshold,
        false_accept_rate=round(passed[worst], 6),
        different=len(scores[worst][1]),
        true_accept_rate=round(_kept(scores[known][0], threshold), 4),
        same=len(scores[known][0]),
        measured_on=f"{worst} (different people), {known} (one person)",
    )


def _images(folder: str) -> list[Path]:
    from faceflax.preprocessing import inputs

    files, _ = inputs.list_images([Path(folder)])
    if len(files) < 2:
        raise UserError(f"--others {folder} holds no pair of images; name a folder of aligned faces")
    return [path for path, _ in files]


def _kept(same: np.ndarray, threshold: float) -> float:
    """The share of the scores of one person that pass; 1 where there are none."""
    return float((same > threshold).mean()) if len(same) else 1.0


def _complain(path: Path, sentence: str) -> None:
    raise UserError(sentence)


if __name__ == "__main__":
    program.run(main)
