"""The threshold that comes with a face encoder: python -m experiments.thresholds [--encoder=faceres].

Takes the larger of two thresholds, each at the rate asked for: one over all pairs of the ORL people s1 to s20 (grey
photographs, ten each), one over pairs of different synthetic faces. Prints the entry of calibration.DEFAULTS; the ORL
test people, s21 to s40, and every set of photographs of different people given by --others are measured with it.
"""

from pathlib import Path

from absl import flags

from experiments import program
from faceflax.errors import UserError

_ENCODER = flags.DEFINE_string("encoder", "faceres", "The face encoder.")
_RATE = flags.DEFINE_float("rate", 1e-3, "Share of the pairs of different people that may pass.")
_OTHERS = flags.DEFINE_multi_string("others", [], "A folder of aligned faces, each of another person; may be repeated.")


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import dataclasses

    import numpy as np

    from faceflax.datasets import images, registry
    from faceflax.models import face_encoder
    from faceflax.preprocessing import inputs
    from faceflax.recognition import calibration
    from faceflax.recognition.embedding import Embedder, whole
    from faceflax.training import runtime

    runtime.start()
    encoder = face_encoder.create(_ENCODER.value)
    embedder = Embedder(encoder, whole(encoder.image_size), 16)

    def dataset(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        source = registry.load(name, split)
        examples = [source[index] for index in range(len(source))]
        people = [example.get("identity", index) for index, example in enumerate(examples)]
        return embedder.pixels([images.decode(example["image"]) for example in examples]), np.array(people)

    parts = {
        "ORL s1-s20": dataset("orl_faces", "train"),
        "synthetic faces": dataset("mini_faces", "all"),
    }
    found = [calibration.calibrate(encoder, *part, _RATE.value, name) for name, part in parts.items()]
    chosen = max(found, key=lambda each: each.threshold)
    print("threshold alone:", ", ".join(f"{each.measured_on} {each.threshold:.4f}" for each in found))
    parts["ORL s21-s40"] = dataset("orl_faces", "test")
    for folder in _OTHERS.value:
        files, _ = inputs.list_images([Path(folder)])
        if not files:
            raise UserError(f"--others {folder} holds no images")
        faces = [face for batch in embedder.files([p for p, _ in files], _complain, lambda: None) for face in batch]
        parts[Path(folder).name] = np.stack([face.vector for face in faces]), np.arange(len(faces))
    for name, part in parts.items():
        same, different = calibration.pair_scores(*part)
        passed = f", {np.mean(same > chosen.threshold):.4f} of {len(same):,} pairs of one person" if len(same) else ""
        print(f"{name}: {np.mean(different > chosen.threshold):.6f} of {len(different):,} pairs of two people{passed}")
    same, different = (
        np.concatenate(scores)
        for scores in zip(*(calibration.pair_scores(*parts[each.measured_on]) for each in found), strict=True)
    )
    print(
        dataclasses.replace(
            chosen,
            threshold=round(chosen.threshold, 4),
            false_accept_rate=_RATE.value,
            different=len(different),
            true_accept_rate=round(float(np.mean(same > chosen.threshold)), 4),
            same=len(same),
            measured_on=", ".join(each.measured_on for each in found),
        )
    )
    return 0


def _complain(path: Path, sentence: str) -> None:
    raise UserError(sentence)


if __name__ == "__main__":
    program.run(main)
