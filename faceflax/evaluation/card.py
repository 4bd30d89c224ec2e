"""The card of a model: what it was made from, what it does on faces that it has not seen, and where it fails."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from faceflax.degradations import Task
from faceflax.evaluation.grid import Person
from faceflax.evaluation.results import TaskResult
from faceflax.evaluation.statistics import bootstrap
from faceflax.evaluation.tables import Table, brief, to_markdown
from faceflax.models import shipped

_FACE = ((0.45, 0.75), (0.35, 0.65))  # rows and columns of the middle of an aligned face, mostly skin, of its side 1


def write(name: str, manifest: Mapping[str, Any], results: Mapping[str, Sequence[TaskResult]], skin: np.ndarray) -> str:
    """Returns the card as Markdown.

    Args:
      name: of the model.
      manifest: its weights' own (see `models.weights`).
      results: by the name of a set of faces; the first set is the one that groups are compared on.
      skin: `typology_angle` of each face of the first set.
    """
    faces, first = next(iter(results.items()))
    parts = [f"# The model {name}", "", *_origin(manifest), "", *course(manifest)]
    for title, measured in results.items():
        parts += [f"## {title}", "", to_markdown(brief(measured))]
    parts += ["## By the tone of the skin", "", _GROUPS.format(faces=faces), "", to_markdown(by_skin(first, skin))]
    parts += ["## Where it fails", "", _PICTURE.format(name=name), "", _LIMITS]
    return "\n".join(parts) + "\n"


_GROUPS = (
    "Mean gain in PSNR over the input, dB, with 95% intervals, for three equal groups of the faces ({faces}) by the "
    "individual typology angle of the middle of the clean face (Chardon et al. 1991): a measure of how light it is, "
    "which the lighting moves as well."
)
_PICTURE = (
    "![The faces that it restores worst]({name}.jpg)\n\nOf each kind of damage the face with the least PSNR, at the "
    "hardest severity: clean, damaged, restored."
)
_MONITORS = {
    "accuracy_real": "real told",
    "accuracy_fake": "restored told",
    "accuracy_pairs": "pairs told",
    "diversity": "diversity",
    "sharpness": "sharpness",
}
_COURSE = (
    "The shares of real faces, of restored ones, and of pairs of both, that the discriminator told rightly: all near 1 "
    "for long, and the generator learns nothing from it. Then what the restored faces had of the clean ones' variety "
    "(near 0, all have become one face) and sharpness (below 1 they are blurred, far above 1 they are noise). The "
    "generator heeded the discriminator from step {start:,} on."
)
_LIMITS = (
    "A restored face is an estimate: what the damage took is invented, and is no evidence of who somebody is. Faces "
    "far from FFHQ's framing, in profile, of children and with headgear are rare in what it learned from."
)


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    data, config = manifest["dataset"], manifest["config"]
    before = [_run(run) for run in manifest["before"]]
    fidelity = manifest.get("fidelity", 0)
    moved = f"| weights | {fidelity:.0%} of the way from what was trained to the CNN that it started from |"
    return [
        "| | |",
        "| --- | --- |",
        f"| kind | {shipped.kind(manifest)}, {config['data']['image_size']} pixels |",
        f"| damage | {', '.join(dict.fromkeys(config['tasks']))} |",
        f"| trained | {manifest['step']:,} steps of {config['data']['batch_size']} faces, seed {manifest['seed']} |",
        f"| after | {'; '.join(before) or 'nothing: from random weights'} |",
        *([moved] if fidelity else []),
        *([_experts(manifest)] if "experts" in manifest else []),
        f"| data | {data['name']}, split {data['split']}, fingerprint {data['fingerprint']} |",
        f"| code | commit {manifest['commit']} |",
        f"| command | `{manifest['command']}` |",
        f"| licence | {manifest['licence']} |",
    ]


def _experts(manifest: Mapping[str, Any]) -> str:
    def told(run: Mapping[str, Any]) -> str:
        back = f", {run['fidelity']:.0%} of the way back" if run["fidelity"] else ""
        return f"{run['expert']}, {run['step']:,} steps{back}"

    runs = map(told, manifest["experts"])
    return f"| trained on from the CNN's against a discriminator | {'; '.join(runs)}; all other experts are the CNN's |"


def _run(run: Mapping[str, Any]) -> str:
    tasks = ", ".join(dict.fromkeys(run.get("tasks", ())))  # what shipped before tasks were told has none
    return f"{run['kind']}{f' ({tasks})' if tasks else ''}, {run['step']:,} steps"


def course(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the card's section on how the two networks of a GAN did against each other; of another model, nothing."""
    courses = {run["expert"]: run["monitors"] for run in manifest.get("experts", ())}
    courses |= {"": manifest["monitors"]} if manifest.get("monitors") else {}
    if not courses:
        return []
    config = manifest["config"]
    title = f"Means over train.log_every={config['train']['log_every']}, {config['data']['batch_size']} faces a step"
    parts = ["## How the training went", "", _COURSE.format(start=config["gan"]["start"]), ""]
    for tasks, seen in courses.items():
        rows = [[str(row["step"]), *(f"{row[name]:.3f}" for name in _MONITORS)] for row in seen]
        parts.append(to_markdown(Table(f"{tasks}. {title}" if tasks else title, ["step", *_MONITORS.values()], rows)))
    return parts


def typology_angle(image: np.ndarray) -> float:
    """Returns the individual typology angle, in degrees, of the middle of an aligned face, uint8 RGB [S, S, 3].

    atan((L* - 50) / b*), of the median colour: above 55 very light, below -30 dark (Chardon et al., Int. J. Cosmetic
    Science 1991).
    """
    rows, columns = (slice(int(start * len(image)), int(stop * len(image))) for start, stop in _FACE)
    colour = np.median(image[rows, columns].reshape(-1, 3), axis=0).astype(np.float32) / 255
    lightness, _, yellowness = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, yellowness)))


def by_skin(results: Sequence[TaskResult], skin: np.ndarray) -> Table:
    """Returns the gain of every task for thirds of the faces, the darkest third first."""
    thirds = np.array_split(np.argsort(skin, kind="stable"), 3)
    header = [
        "task",
        *(f"{name} ({len(third)})" for name, third in zip(("dark", "middle", "light"), thirds, strict=True)),
    ]
    rows = []
    for result in results:
        gain = result.gain("psnr", "input")
        intervals = [bootstrap(gain[third]) for third in thirds]
        rows.append([str(result.task), *(f"{each.mean:.2f} [{each.low:.2f}, {each.high:.2f}]" for each in intervals)])
    return Table("Gain over the input by the tone of the skin", header, rows)


def worst(results: Sequence[TaskResult]) -> list[tuple[Task, int]]:
    """Returns, for every kind of damage at its hardest severity, the number of the face with the least PSNR."""
    hardest = {result.task.name: result for result in results}
    return [(result.task, int(result.index[np.argmin(result.scores["model"]["psnr"])])) for result in hardest.values()]


def person(number: int, seen: Mapping[str, Any]) -> Person:
    """Returns the first face of what `measure.create_step` returned for `grid.sheet`: clean, damaged and restored."""
    pictures, scores = seen["pictures"], seen["numbers"]["scores"]
    return [
        ("clean", pictures["clean"][0], f"face {number}"),
        ("damaged", pictures["input"][0], f"{scores['input']['psnr'][0]:.1f} dB"),
        ("restored", pictures["model"][0], f"{scores['model']['psnr'][0]:.1f} dB"),
    ]
