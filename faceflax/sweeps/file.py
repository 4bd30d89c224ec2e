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
    """W&B's `early_terminate`: trials are compared at `min_iter`, `min_iter * eta`, ... evaluations.

    `strict` as W&B has it: which trials are stopped, and not how many, is settled.
    """

    min_iter: int
    eta: int
    strict: bool


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
    unknown = sorted(map(str, set(source) - _KEYS))
    missing = [key for key in ("program", "method", "parameters", "metric") if key not in source]
    if unknown or missing:
        raise UserError(f"the sweep has no {missing[0]}" if missing else f'"{unknown[0]}" is no key of a sweep')
    if source["method"] not in METHODS:
        raise UserError(f'method "{source["method"]}" is not known; choose one of {", ".join(METHODS)}')
    _check_metric(source["metric"])
    cap = source.get("run_cap")
    if cap is not None and not _is_count(cap):
        raise UserError(f"run_cap is {cap}; it must be a number of trials")
    if not isinstance(source["program"], str):
        raise UserError(f"program is {source['program']}; it must be a file's name")
    _check_json(source)
    metric = source["metric"]
    return Sweep(
        name=str(source.get("name", stem)),
        method=source["method"],
        metric=metric["name"],
        maximize=metric.get("goal") == "maximize",
        target=metric.get("target"),
        space=space.parse(source["parameters"]),
        hyperband=_hyperband(source.get("early_terminate")),
        command=_command(source.get("command")),
        program=source["program"],
        run_cap=cap,
        source=source,
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_metric(metric: Any) -> None:
    goal = metric.get("goal", "minimize") if isinstance(metric, dict) else None
    if goal not in ("minimize", "maximize") or not isinstance(metric.get("name"), str):
        raise UserError("metric needs a name, which is text, and a goal, minimize or maximize")
    unknown = [key for key in metric if key not in ("name", "goal", "target")]
    if unknown:
        raise UserError(f"metric does not take {unknown[0]}; it has a name, a goal and perhaps a target")
    if "target" in metric and not space.is_number(metric["target"]):
        raise UserError(f"metric: target is {metric['target']!r}, which is no number ({space.EXPONENTS})")


def _check_json(source: dict[str, Any]) -> None:
    """A sweep is kept, and sent to W&B, as JSON."""
    try:
        json.dumps(source)
    except TypeError as error:
        raise UserError("the sweep holds a date, or other things than text, numbers and lists; quote them") from error


def _command(words: Any) -> tuple[str, ...]:
    if words is None:
        return _COMMAND
    if not isinstance(words, list) or not words:
        raise UserError("command must be a list of words, not one line")
    odd = [word for word in words if not isinstance(word, str) and not space.is_number(word)]
    if odd:
        raise UserError(f"command has {json.dumps(odd[0], default=str)} in it, which is no word; put it in quotes")
    return tuple(map(str, words))


def _hyperband(options: Any) -> Hyperband | None:
    if not options:
        return None
    if not isinstance(options, dict) or options.get("type") != "hyperband":
        raise UserError("early_terminate knows one type: hyperband")
    unknown = [key for key in options if key not in ("type", "min_iter", "max_iter", "s", "eta", "strict")]
    if unknown:
        raise UserError(f"early_terminate does not take {unknown[0]}")
    numbers = {"eta": 3, "s": 1} | {key: options[key] for key in ("min_iter", "max_iter", "s", "eta") if key in options}
    for key, value in numbers.items():
        if not _is_count(value):
            raise UserError(f"early_terminate: {key} is {value!r}; it must be a whole number of at least 1")
    if numbers["eta"] < 2:
        raise UserError("early_terminate: eta is 1; it must be at least 2")
    if "min_iter" in numbers:
        least = numbers["min_iter"]
    elif "max_iter" in numbers:  # W&B's other way to say it: `s` brackets, the last at max_iter
        least = max(1, round(numbers["max_iter"] / numbers["eta"] ** numbers["s"]))
    else:
        raise UserError("early_terminate needs min_iter, or max_iter with s")
    return Hyperband(least, numbers["eta"], bool(options.get("strict")))


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
