"""What a restorer with the face prior inside tells of faces by styles alone: the way image -> W+ -> image.

python -m experiments.judge_inversion --workdir=runs/inversion [--faces=200] [--out=sheet.jpg]

Faces of the held-out split that nothing damaged pass the network, and the prior makes faces of the styles that it
finds; nothing else steers it. Prints their PSNR and perceptual distance, and those of the prior's mean face, how much
of the styles' variance was missed, and of how many the independent judge (`pip install 'faceflax[judge]'`) says that
they show the same person.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import program

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder that the network was trained in.")
_FACES = flags.DEFINE_integer("faces", 200, "Faces to judge.", lower_bound=2)
_OUT = flags.DEFINE_string("out", "", "A .jpg to write: the first faces, and below each what its styles make.")
flags.mark_flags_as_required(["workdir"])

_COLUMNS = 8  # of the picture


def main() -> int:
    """Judges by the flags; returns the process's exit status."""
    from faceflax.datasets import stream
    from faceflax.evaluation.judges.dlib_judge import DlibJudge
    from faceflax.models import perceptual
    from faceflax.training import examples, inversion, parallel, prior_styles, runtime

    runtime.start()
    judge, devices = DlibJudge(), parallel.one_device()
    config, params, function = _load(Path(_WORKDIR.value))
    invert = devices.compile_batched(function)
    source = prior_styles.describe(examples.load(config.data, config.data.test_split))
    params = devices.replicate({"network": params, "perceptual": perceptual.load()})
    faces = stream.eval_stream(source, image_size=config.data.image_size, batch_size=1, max_images=_FACES.value)
    originals = [batch["image"] for batch in faces]
    found = [{name: np.asarray(value) for name, value in invert(params, {"image": each}).items()} for each in originals]
    found = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    originals = np.concatenate(originals)

    for what in ("styles", "mean"):
        psnr, distance = found[f"psnr_of_{what}"].mean(), found[f"distance_of_{what}"].mean()
        print(f"faces of the {what:6}: PSNR {psnr:.2f} dB, perceptual distance {distance:.3f}")
    missed = inversion.style_missed(found["styles"], source.values[: len(originals)], found["mean"][0])
    print(f"of {len(originals)} faces' styles {float(missed[0] / missed[1]):.3f} of the variance is missed")
    print(judge.same_people(found["faces"], originals))
    if _OUT.value:
        _draw(originals, found["faces"])
    return 0


def _load(workdir: Path) -> tuple[Any, Any, Callable]:
    """Returns the configuration, the parameters, and what is found of faces by them."""
    from faceflax import metrics, models
    from faceflax.errors import UserError
    from faceflax.models import perceptual
    from faceflax.models.face_prior import restorer, sampling, synthesis
    from faceflax.training import trained

    config, params, info = trained.load_restorer(workdir)
    print(f"{workdir}, step {info['step']}")
    model = models.create(config.model)
    if model.restore_with_styles is None:
        raise UserError(
            f"{workdir} has no face prior inside: name a workdir of configs/inversion.py or configs/prior.py"
        )

    def find(params: Any, batch: dict[str, Any]) -> dict[str, Any]:
        image = batch["image"] / 255.0
        mask = np.zeros((*image.shape[:3], 1), np.float32)
        styles = model.restore_with_styles(params["network"], image, mask).styles
        prior = restorer.prior_of(params["network"])
        found = {"styles": styles, "mean": prior["mean"][None]}
        for what in ("styles", "mean"):
            face = sampling.to_bytes(synthesis.synthesise(prior, found[what], image.shape[1]))
            found[f"psnr_of_{what}"] = metrics.psnr(face / 255.0, image)
            found[f"distance_of_{what}"] = perceptual.distance(params["perceptual"], face / 255.0, image)
            found.setdefault("faces", face)
        return found

    return config, params, find


def _draw(originals: np.ndarray, made: np.ndarray) -> None:
    from faceflax.datasets import commands, images
    from faceflax.files import atomic_path

    rows = [row for start in (0, _COLUMNS) for row in (originals, made) for row in row[start : start + _COLUMNS]]
    with atomic_path(_OUT.value) as temporary:
        temporary.write_bytes(images.encode_jpeg(commands.contact_sheet(rows, _COLUMNS, 128), 92))


if __name__ == "__main__":
    program.run(main)
