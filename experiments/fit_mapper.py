"""Fits the map from feature vectors to faces: python -m experiments.fit_mapper --faces=FOLDER --out=mapper.safetensors.

FOLDER holds `NNNNN.jpg`, 5,000 faces of seed 2026 at 256 pixels as `faceflax datasets build synthetic_faces` makes
them: a face's number tells the style that it was made with. Ridge regression from the vector that faceres gives of the
face to that style, on the faces below 4,700. On those from 4,700 on it prints how much of the styles' variance is
explained, and of how many the independent judge (`pip install 'faceflax[judge]'`) says that the face made from the
vector alone shows the same person, at dlib's own threshold.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import numbered_faces, program

_FACES = flags.DEFINE_string("faces", None, "The folder of the faces.")
_OUT = flags.DEFINE_string("out", None, "The file to write.")
_JUDGED = flags.DEFINE_integer("judged", 200, "Held-out faces that the judge sees; 0: none.", 0, 300)
_SAVED = flags.DEFINE_string("vectors", "", "A .npy that keeps the vectors [5000, 1024], to go on with.")
flags.mark_flags_as_required(["faces", "out"])

_HELD_OUT = 4700
_PENALTY = 1500.0  # in units of one standardised observation; chosen on the faces held out: 300 to 3000 differ by 0.03


def main() -> int:
    """Fits by the flags; returns the process's exit status."""
    from faceflax.models import face_encoder, face_prior, weights
    from faceflax.training import parallel, runtime, workdir

    runtime.start()
    devices = parallel.one_device()
    encoder, encoder_params = face_encoder.load("faceres")
    prior = face_prior.load()
    vectors = _vectors(devices, encoder, encoder_params)
    styles = _styles()
    kernel, bias = _ridge(vectors[:_HELD_OUT], styles[:_HELD_OUT])
    error = np.square(vectors[_HELD_OUT:] @ kernel + bias - styles[_HELD_OUT:]).sum()
    explained = 1 - error / np.square(styles[_HELD_OUT:] - prior["mean"]).sum()
    measured = {"explained_variance": round(float(explained), 4)}
    print(f"explained variance of held-out styles: {explained:.3f}", flush=True)
    if _JUDGED.value:
        measured |= _judge(devices, prior, (vectors @ kernel + bias)[_HELD_OUT : _HELD_OUT + _JUDGED.value])
    manifest = {
        "kind": "map from faceres vectors to styles of the face prior",
        "config": {"encoder": encoder.name, "encoder_version": encoder.version, "penalty": _PENALTY},
        "dataset": numbered_faces.describe(_FACES.value, range(_HELD_OUT)) | {"split": f"0-{_HELD_OUT}"},
        "step": 0,
        "metrics": measured,
        "commit": workdir.provenance()["commit"],
        "licence": "Apache-2.0; fitted to weights distilled from a generator trained on FFHQ (CC BY-NC-SA 4.0) and to "
        "an encoder trained on VGGFace2 (research data)",
    }
    weights.write(Path(_OUT.value), {"kernel": kernel, "bias": bias}, manifest)
    print(_OUT.value)
    return 0


def _vectors(devices, encoder, params) -> np.ndarray:
    from faceflax.files import atomic_path

    if _SAVED.value and Path(_SAVED.value).exists():
        return np.load(_SAVED.value)
    embed = devices.compile_batched(lambda params, images: encoder.embed(params, images / 255.0))
    params = devices.replicate(params)
    faces = (numbered_faces.read(_FACES.value, number) for number in range(numbered_faces.COUNT))
    vectors = [np.asarray(embed(params, face[None]))[0] for face in faces]
    if _SAVED.value:
        with atomic_path(_SAVED.value) as temporary:
            np.save(temporary, vectors)
    return np.stack(vectors)


def _styles() -> np.ndarray:
    from faceflax.datasets.synthetic_faces import recipe
    from faceflax.training import prior_styles

    drawn = [recipe.draw(numbered_faces.SEED, number) for number in range(numbered_faces.COUNT)]
    return prior_styles.styles(np.concatenate([z for z, _ in drawn]), np.float32([psi for _, psi in drawn]))


def _ridge(vectors: np.ndarray, styles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (kernel, bias) of the least squares with a penalty on the kernel of standardised vectors."""
    mean, deviation, target = vectors.mean(0), vectors.std(0) + 1e-6, styles.mean(0)
    x = ((vectors - mean) / deviation).astype(np.float64)
    kernel = np.linalg.solve(x.T @ x + _PENALTY * np.eye(x.shape[1]), x.T @ (styles - target)) / deviation[:, None]
    return kernel.astype(np.float32), (target - mean @ kernel).astype(np.float32)


def _judge(devices, prior, styles: np.ndarray) -> dict[str, float]:
    from faceflax.evaluation.judges.dlib_judge import DlibJudge
    from faceflax.models.face_prior import sampling

    make = devices.compile_batched(lambda params, styles: sampling.make_faces(params, styles, 128))
    made = np.concatenate([np.asarray(make(devices.replicate(prior), style[None])) for style in styles])
    faces = [numbered_faces.read(_FACES.value, _HELD_OUT + number) for number in range(len(styles))]
    found = DlibJudge().same_people(made, np.stack(faces))
    print(found)
    return {"same_person": round(found.same, 4), "confused": round(found.confused, 4), "judged": found.count}


if __name__ == "__main__":
    program.run(main)
