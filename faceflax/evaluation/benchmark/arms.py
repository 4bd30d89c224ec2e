"""What each arm is, in a table: how it was trained, for how long, and by which losses."""

import re
from collections.abc import Mapping
from typing import Any

from faceflax.config import num_steps
from faceflax.evaluation.benchmark.analysis import METRICS, Results
from faceflax.evaluation.tables import Table
from faceflax.objectives import NETWORK_TERMS, TERMS


def to_table(results: Results, runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Returns a row an arm, from `runs` of `measured.json` (by the run's name).

    A GAN without perceptual or identity terms is said to be so. Failures are results that held pixels that are not
    finite, of all seeds and tasks; they are scored with such pixels black.
    """
    rows = []
    for arm in results.settings.arms:
        found = [each for each in runs.values() if each["arm"] == arm]
        first = found[0]
        steps = " ".join(_steps(each["step"], each["duration"]) for each in found)
        by = losses(first["loss"], first["gan"], first["style"])
        rows.append(
            [
                arm,
                first["kind"],
                first["model"]["name"],
                _start(first, runs),
                steps,
                str(first["batch_size"]),
                by,
                str(results.failures(arm)),
            ]
        )
    header = [
        "arm",
        "training",
        "network",
        "starts from",
        "steps (each seed)",
        "batch",
        "losses and their weights",
        "failures",
    ]
    return Table("The arms", header, rows)


def _start(run: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> str:
    """The arm that the run started from; "new", or the name and step of a network that is none of the arms."""
    if not run["start"]:
        return "new"
    source, step = run["start"]
    found = [each["arm"] for each in runs.values() if each["source"] == source and step in (each["step"], -1)]
    return found[0] if found else f"{source}, step {step}" if step >= 0 else source


def _steps(step: int, duration: str) -> str:
    """The step that was measured, and of how many where its training was to take more."""
    return f"{step} of {duration}" if duration.endswith("steps") and step < num_steps(duration, None) else str(step)


def without_discriminator(runs: Mapping[str, Mapping[str, Any]], gan: str) -> str:
    """Returns the arm that was trained as `gan` but without a discriminator; "" when there is none."""
    same = ("start", "step", "batch_size", "model", "loss", "optim")
    first = {each["arm"]: each for each in reversed(runs.values())}
    twins = [name for name, each in first.items() if all(each[field] == first[gan][field] for field in same)]
    return next((name for name in twins if first[name]["kind"] == "cnn"), "")


def in_loss(runs: Mapping[str, Mapping[str, Any]], arm: str) -> set[str]:
    """Returns the metrics that are terms of the arm's loss, or made of what the network of such a term sees."""
    (loss, *_) = (each["loss"] for each in runs.values() if each["arm"] == arm)
    return {metric for metric in METRICS if loss.get(re.sub(r"^tar_(.*)_.*$", r"\1", metric))}


def losses(weights: Mapping[str, float], gan: Mapping[str, Any], style: float = 0.0) -> str:
    """Says by which losses a run was trained: `weights` of `config.loss`, and `config.gan` for an adversarial one.

    `style` is the weight of an inversion's own term.
    """
    used = [f"{name} {weights[name]:g}" for name in (*TERMS, *NETWORK_TERMS) if weights[name]]
    used += [f"style {style:g}"] if style else []
    if gan:
        used.append(f"adversarial {gan['weight']:g} ({gan['loss']})")
    missing = [name for name in NETWORK_TERMS if not weights[name]]
    if gan and missing:
        used.append(f"no {' and no '.join(missing)} term")
    return ", ".join(used)
