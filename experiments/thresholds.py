"""The threshold that comes with a face encoder: python -m experiments.thresholds [--encoder=faceres --others=FOLDER].

Takes the larger of two: that at --rate over all pairs of the ORL people s1 to s20 (grey photographs, ten each), and
that at --alike_rate over pairs of synthetic faces, who are more alike than people are. Prints the entry of
calibration.DEFAULTS, and what that threshold does on the ORL test people and on the folders of --others.
"""

from pathlib import Path

from absl import flags

from experiments import program
from faceflax.errors import UserError

_ENCODER = flags.DEFINE_string("encoder", "faceres", "The face encoder.")
_RATE = flags.DEFINE_float("rate", 1e-3, "Share of the pairs of different ORL people that may pass.")
_ALIKE_RATE = flags.DEFINE_float("alike_rate", 1e-2, "Share of the pairs of synthetic faces that may pass.")
_OTHERS = flags.DEFINE_multi_string("others", [], "A folder of aligned faces, each of another person; may be repeated.")


def main() -> int:
    """Measures by the flags; returns the process's exit status."""
    import numpy as np

    from faceflax.datasets import images, registry
    from faceflax.models import face_encoder
    from faceflax.preprocessing import inputs
    from faceflax.recognition import calibration
    from faceflax.recognition.calibration import Calibration
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
    scores = {name: calibration.pair_scores(*part) for name, part in parts.items()}
    rates = zip(scores.items(), (_RATE.value, _ALIKE_RATE.value), strict=True)
    alone = {name: calibration.threshold_at(different, rate) for (name, (_, different)), rate in rates}
    threshold = round(max(alone.values()), 4)
    print("alone:", ", ".join(f"{name} {value:.4f}" for name, value in alone.items()), f"; chosen: {threshold}")
    same, different = (np.concatenate(kind) for kind in zip(*scores.values(), strict=True))
    passed = {name: int(np.sum(each > threshold)) for name, (_, each) in scores.items()}
    print(
        Calibration(
            encoder=encoder.name,
            version=encoder.version,
            threshold=threshold,
            false_accept_rate=round(float(np.mean(different > threshold)), 6),
            different=len(different),
            true_accept_rate=round(float(np.mean(same > threshold)), 4),
            same=len(same),
            measured_on=", ".join(f"{name} ({passed[name]} of {len(scores[name][1])} pass)" for name in scores),
        )
    )
    others = {"ORL s21-s40": dataset("orl_faces", "test")}
    for folder in _OTHERS.value:
        files, _ = inputs.list_images([Path(folder)])
        if not files:
            raise UserError(f"--others {folder} holds no images")
        faces = [face for batch in embedder.files([p for p, _ in files], _complain, lambda: None) for face in batch]
        others[Path(folder).name] = np.stack([face.vector for face in faces]), np.arange(len(faces))
    for name, part in others.items():
        same, different = calibration.pair_scores(*part)
        kept = f"; {np.sum(same > threshold)} of {len(same)} pairs of one person" if len(same) else ""
        print(f"{name}: {np.sum(different > threshold)} of {len(different)} pairs of different people pass{kept}")
    return 0


def _complain(path: Path, sentence: str) -> None:
    raise UserError(sentence)


if __name__ == "__main__":
    program.run(main)
