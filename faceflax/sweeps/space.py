"""The points of a sweep: what a sweep file's `parameters` allow, one value for each name.

The keys and distributions are those of W&B's sweep files (docs.wandb.ai, "Sweep configuration options").
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
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
_OPTIONAL = {"q", "mu", "sigma", "probabilities"}
DISCRETE = ("constant", "categorical", "categorical_w_probabilities", "int_uniform")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter: its distribution's name, and the numbers or values that go with it."""

    distribution: str
    options: Mapping[str, Any]

    def choices(self) -> list[Any] | None:
        """Returns every value there is, or None when there is no end of them."""
        if self.distribution == "constant":
            return [self.options["value"]]
        if self.distribution == "int_uniform":
            return list(range(self.options["min"], self.options["max"] + 1))
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


def _parse_one(name: str, options: Any) -> Parameter:
    if not isinstance(options, dict):
        raise UserError(f"parameter {name}: write values: [...], value: ... or min: and max: under it")
    if "parameters" in options:
        raise UserError(f"parameter {name}: nested parameters reach no flag; write their names with dots: {name}.field")
    options = dict(options)
    kind = options.pop("distribution", None) or _default(options)
    if kind not in _NEEDS:
        raise UserError(f'parameter {name}: distribution "{kind}" is not known; choose one of {", ".join(_NEEDS)}')
    missing = [key for key in _NEEDS[kind] if key not in options]
    unknown = [key for key in options if key not in {*_NEEDS[kind], *_OPTIONAL}]
    if missing or unknown:
        what = f"needs {' and '.join(missing)}" if missing else f"does not take {unknown[0]}"
        raise UserError(f"parameter {name}: a {kind} distribution {what}")
    _check(name, kind, options)
    return Parameter(kind, options)


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
    numbers = {key: value for key, value in options.items() if key not in ("value", "values", "probabilities")}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"parameter {name}: {key} is {value!r}, which is no number (write 1.0e-4, not 1e-4)")
    if "values" in options and (not isinstance(options["values"], list) or not options["values"]):
        raise UserError(f"parameter {name}: values must be a list with something in it")
    shares = options.get("probabilities")
    if shares is not None and (len(shares) != len(options["values"]) or not math.isclose(sum(shares), 1)):
        raise UserError(f"parameter {name}: probabilities must be one for each value, and sum to 1")
    if "min" in options and not options["min"] <= options["max"]:
        raise UserError(f"parameter {name}: min {options['min']} is above max {options['max']}")
    if kind.endswith("log_uniform_values") and options["min"] <= 0:
        raise UserError(f"parameter {name}: a {kind} distribution needs a min above 0, not {options['min']}")
    if any(not options[key] > 0 for key in ("q", "sigma", "a", "b") if key in options):
        raise UserError(f"parameter {name}: q, sigma, a and b must be above 0")
