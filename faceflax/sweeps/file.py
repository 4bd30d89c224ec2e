"""A sweep file: what W&B reads as YAML, read here so that it runs without W&B too."""

import dataclasses
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from faceflax.errors import UserError
from faceflax.sweeps import space
from faceflax.sweeps.space import Point, Space

METHODS = ("grid", "random", "bayes")
_KEYS = {"program", "method", "metric", "parameters", "early_terminate", "command", "run_cap", "name", "description"}
_KEYS |= {"project", "entity"}
_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")  # W&B's own default


@dataclasses.dataclass(frozen=True)
class Hyperband:
    """W&B's `early_terminate`: trials are compared at `min_iter`, `min_iter * eta`, ... evaluations."""

    min_iter: int
    eta: int


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One sweep.

    Attributes:
      name: of the sweep, and of its trials' group in W&B.
      method: one of `METHODS`.
      metric: the metric's name, as in `metrics.jsonl`.
      maximize: whether more of it is better.
      target: no new trial starts once one has reached it; None without.
      space: what the trials' points are drawn from.
      hyperband: early stopping, or None.
      command: with W&B's macros in it.
      program: what `${program}` stands for.
      run_cap: trials in all, or None.
      source: the whole file, as W&B takes it.
    """

    name: str
    method: str
    metric: str
    maximize: bool
    target: float | None
    space: Space
    hyperband: Hyperband | None
    command: tuple[str, ...]
    program: str
    run_cap: int | None
    source: dict[str, Any]


def read(path: Path) -> Sweep:
    """Reads a sweep file; raises `UserError` with what is wrong in it."""
    try:
        source = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the sweep {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return _parse(source, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _parse(source: Any, stem: str) -> Sweep:
    if not isinstance(source, dict):
        raise UserError("a sweep is a mapping with program, method and parameters")
    unknown = sorted(set(source) - _KEYS)
    missing = [key for key in ("program", "method", "parameters", "metric") if key not in source]
    if unknown or missing:
        raise UserError(f"the sweep has no {missing[0]}" if missing else f'"{unknown[0]}" is no key of a sweep')
    if source["method"] not in METHODS:
        raise UserError(f'method "{source["method"]}" is not known; choose one of {", ".join(METHODS)}')
    metric = source["metric"]
    goal = metric.get("goal", "minimize") if isinstance(metric, dict) else None
    if goal not in ("minimize", "maximize") or "name" not in metric:
        raise UserError("metric needs a name and a goal, minimize or maximize")
    cap = source.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise UserError(f"run_cap is {cap}; it must be a number of trials")
    return Sweep(
        name=str(source.get("name", stem)),
        method=source["method"],
        metric=metric["name"],
        maximize=goal == "maximize",
        target=metric.get("target"),
        space=space.parse(source["parameters"]),
        hyperband=_hyperband(source.get("early_terminate")),
        command=_command(source.get("command")),
        program=str(source["program"]),
        run_cap=cap,
        source=source,
    )


def _command(words: Any) -> tuple[str, ...]:
    if words is None:
        return _COMMAND
    if not isinstance(words, list) or not words:
        raise UserError("command must be a list of words, not one line")
    return tuple(map(str, words))


def _hyperband(options: Any) -> Hyperband | None:
    if not options:
        return None
    if not isinstance(options, dict) or options.get("type") != "hyperband":
        raise UserError("early_terminate knows one type: hyperband")
    eta = options.get("eta", 3)
    if "min_iter" in options:
        least = options["min_iter"]
    elif "max_iter" in options:  # W&B's other way to say it: `s` brackets, the last at max_iter
        least = max(1, round(options["max_iter"] / eta ** options.get("s", 1)))
    else:
        raise UserError("early_terminate needs min_iter, or max_iter with s")
    if not (isinstance(least, int) and isinstance(eta, int)) or least < 1 or eta < 2:
        raise UserError(f"early_terminate: min_iter {least} must be at least 1 and eta {eta} at least 2")
    return Hyperband(least, eta)


def command(sweep: Sweep, point: Point, extra: tuple[str, ...] = ()) -> list[str]:
    """Returns the words of a trial's command, for `subprocess`, with `extra` after all others.

    Raises `UserError` for a macro that only W&B knows.
    """
    words: list[str] = []
    for word in sweep.command:
        match word:
            case "${env}":
                words.append("/usr/bin/env")
            case "${interpreter}":
                words.append(sys.executable)
            case "${program}":
                words.append(sweep.program)
            case "${args}":
                words += [f"--{name}={_text(value)}" for name, value in point.items()]
            case "${args_no_hyphens}":
                words += [f"{name}={_text(value)}" for name, value in point.items()]
            case "${args_json}":
                words.append(json.dumps(point))
            case _:
                words.append(re.sub(r"\$\{envvar:(\w+)\}", lambda match: os.environ.get(match[1], ""), word))
                if "${" in words[-1]:
                    raise UserError(f"the sweep's command has {word}, which --backend=local does not know")
    return [*words, *extra]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
