"""The points of a sweep: what a sweep file's `parameters` allow, one value for each name.

The keys and distributions are those of W&B's sweep files (docs.wandb.ai, "Sweep configuration options").
"""

import dataclasses
import itertools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceflax.errors import UserError

Point = dict[str, Any]  # a parameter's name -> its value

# What each distribution needs beside `distribution`; `q` rounds to its multiples, 1 where it is not given.
_NEEDS = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max"),
    "log_uniform": ("min", "max"),
    "q_log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform_values": ("min", "max"),
    "normal": (),
    "q_normal": (),
    "log_normal": (),
    "q_log_normal": (),
    "beta": ("a", "b"),
}
EXPONENTS = "write 1.0e-4, not 1e-4, and 1.0e+4, not 1e4"
"""What to do where YAML took a number for text: it wants a point before the exponent, and its sign."""
_MOST_EXPONENT = 700  # of e, that a float holds
DISCRETE = ("constant", "categorical", "categorical_w_probabilities", "int_uniform")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter: its distribution's name, and the numbers or values that go with it."""

    distribution: str
    options: Mapping[str, Any]

    def choices(self) -> Sequence[Any] | None:
        """Returns every value there is, or None when there is no end of them."""
        if self.distribution == "constant":
            return [self.options["value"]]
        if self.distribution == "int_uniform":
            return range(self.options["min"], self.options["max"] + 1)
        return list(self.options["values"]) if "values" in self.options else None

    def bounds(self) -> tuple[float, float, bool] | None:
        """Returns (least, most, whether it is uniform in the logarithm), or None for other distributions."""
        if "uniform" not in self.distribution:
            return None
        low, high = self.options["min"], self.options["max"]
        if self.distribution.removeprefix("q_") == "log_uniform":  # its ends are exponents
            low, high = math.exp(low), math.exp(high)
        return low, high, "log" in self.distribution

    @property
    def step(self) -> float | None:
        """What values are multiples of, or None."""
        return self.options.get("q", 1) if self.distribution.startswith("q_") else None

    def draw(self, rng: np.random.Generator) -> Any:
        """Returns a random value."""
        choices = self.choices()
        if choices is not None:
            return choices[rng.choice(len(choices), p=self.options.get("probabilities"))]
        value = self._draw_number(rng)
        return value if self.step is None else round(value / self.step) * self.step

    def _draw_number(self, rng: np.random.Generator) -> float:
        bounds = self.bounds()
        if bounds is not None:
            low, high, is_log = bounds
            return math.exp(rng.uniform(math.log(low), math.log(high))) if is_log else rng.uniform(low, high)
        if self.distribution == "beta":
            return rng.beta(self.options["a"], self.options["b"])
        value = rng.normal(self.options.get("mu", 0), self.options.get("sigma", 1))
        return math.exp(value) if "log" in self.distribution else value


@dataclasses.dataclass(frozen=True)
class Space:
    """All parameters by name."""

    parameters: Mapping[str, Parameter]

    def grid(self) -> list[Point]:
        """Returns every point, the last parameter changing fastest; raises `UserError` when there is no end of them."""
        choices = {name: parameter.choices() for name, parameter in self.parameters.items()}
        endless = [name for name, values in choices.items() if values is None]
        if endless:
            raise UserError(f"method: grid needs a list of values for {endless[0]}; give it, or use method: random")
        return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]

    def draw(self, seed: int, number: int) -> Point:
        """Returns the point of trial `number`: a function of `seed` and `number` alone."""
        rng = np.random.default_rng([seed, number])
        return {name: parameter.draw(rng) for name, parameter in self.parameters.items()}


def parse(parameters: Any) -> Space:
    """Reads the `parameters` of a sweep file; raises `UserError` for what cannot be a parameter."""
    if not isinstance(parameters, dict) or not parameters:
        raise UserError("the sweep has no parameters: list what it varies under `parameters`")
    return Space({name: _parse_one(name, options) for name, options in parameters.items()})


def _parse_one(name: Any, options: Any) -> Parameter:
    if not isinstance(name, str):
        raise UserError(f"parameter {name!r} is named by no text; put the name in quotes")
    if not isinstance(options, dict):
        raise UserError(f"parameter {name}: write values: [...], value: ... or min: and max: under it")
    if "parameters" in options:
        raise UserError(f"parameter {name}: nested parameters reach no flag; write their names with dots: {name}.field")
    options = dict(options)
    kind = options.pop("distribution", None) or _default(options)
    if not isinstance(kind, str) or kind not in _NEEDS:
        raise UserError(f'parameter {name}: distribution "{kind}" is not known; choose one of {", ".join(_NEEDS)}')
    missing = [key for key in _NEEDS[kind] if key not in options]
    unknown = [key for key in options if key not in _NEEDS[kind] + _optional(kind)]
    if missing or unknown:
        what = f"needs {' and '.join(missing)}" if missing else f"does not take {unknown[0]}"
        raise UserError(f"parameter {name}: a {kind} distribution {what}")
    _check(name, kind, options)
    return Parameter(kind, options)


def _optional(kind: str) -> tuple[str, ...]:
    return ("q",) * kind.startswith("q_") + ("mu", "sigma") * kind.endswith("normal")


def _default(options: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in options:
        return "constant"
    if "values" in options:
        return "categorical_w_probabilities" if "probabilities" in options else "categorical"
    ends = [options.get("min"), options.get("max")]
    if all(isinstance(end, int) for end in ends):
        return "int_uniform"
    if "mu" in options or "sigma" in options:
        return "normal"
    return "uniform"


def _check(name: str, kind: str, options: Mapping[str, Any]) -> None:
    """Raises `UserError` for options that their distribution cannot be made of."""
    for key, value in options.items():
        if key not in ("value", "values", "probabilities"):
            _check_number(f"parameter {name}: {key}", value)
    if "values" in options and (not isinstance(options["values"], list) or not options["values"]):
        raise UserError(f"parameter {name}: values must be a list with something in it")
    for value in (*options.get("values", ()), options.get("value")):
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
            raise UserError(f"parameter {name}: {value} is text in YAML, not a number ({EXPONENTS})")
    if "probabilities" in options and not _are_shares(options["probabilities"], len(options["values"])):
        raise UserError(f"parameter {name}: probabilities must be a list, one of 0 to 1 for each value, that sums to 1")
    if "min" in options:
        _check_ends(name, kind, options["min"], options["max"])
    if any(not options[key] > 0 for key in ("q", "sigma", "a", "b") if key in options):
        raise UserError(f"parameter {name}: q, sigma, a and b must be above 0")
    if kind.endswith("log_normal") and abs(options.get("mu", 0)) + 10 * options.get("sigma", 1) > _MOST_EXPONENT:
        raise UserError(f"parameter {name}: mu and sigma of a {kind} distribution are of the logarithm: too large here")


def _check_number(what: str, value: Any) -> None:
    if not is_number(value):
        raise UserError(f"{what} is {value!r}, which is no number ({EXPONENTS})")


def is_number(value: Any) -> bool:
    """Whether the value of a YAML file is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _are_shares(shares: Any, count: int) -> bool:
    is_list = isinstance(shares, list) and len(shares) == count
    return is_list and all(is_number(share) and share >= 0 for share in shares) and math.isclose(sum(shares), 1)


def _check_ends(name: str, kind: str, least: float, most: float) -> None:
    if not least <= most:
        raise UserError(f"parameter {name}: min {least} is above max {most}")
    if kind == "int_uniform" and not (isinstance(least, int) and isinstance(most, int)):
        raise UserError(f"parameter {name}: an int_uniform distribution takes whole numbers, not {least} and {most}")
    if kind.endswith("log_uniform_values") and least <= 0:
        raise UserError(f"parameter {name}: a {kind} distribution needs a min above 0, not {least}")
    if kind.endswith("log_uniform") and max(-least, most) > _MOST_EXPONENT:
        raise UserError(
            f"parameter {name}: min and max of a {kind} distribution are exponents of e, and {least} to {most} are out "
            f"of reach; {kind}_values takes the values themselves"
        )
