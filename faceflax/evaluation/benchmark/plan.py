"""What a benchmark trains: each arm with each seed, in which folder, and after which other."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from faceflax import aside
from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import cells
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.files import write_json
from faceflax.models import shipped
from faceflax.training import workdir as workdir_lib
from faceflax.training.trained import load_restorer


@dataclasses.dataclass(frozen=True)
class Run:
    """An arm trained with a seed.

    Attributes:
      arm: its name in `config.arms`.
      seed: one of `config.seeds`.
      workdir: where it is trained, or was; or the name of a model of the package.
      config: the experiment; None for one that was given as trained.
      after: name of the run that it starts from; "" when it starts anew, or from a workdir that is no run.
      upstream: `made_from` of the network that it starts from; empty when it starts anew.
    """

    arm: str
    seed: int
    workdir: Path | str
    config: ConfigDict | None
    after: str
    upstream: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name in folders and tables: "gan-0"."""
        return f"{self.arm}-{self.seed}"

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the package: no workdir, and of a GAN no discriminator."""
        return isinstance(self.workdir, str)

    @property
    def is_trained(self) -> bool:
        """Whether there is nothing left to train: the workdir was given, or this training has ended in it."""
        return self.config is None or _is_same(_read(self.workdir / _COMPLETE), self.made_from)

    def mark_trained(self) -> None:
        """Notes in the workdir that the training has come to its end."""
        write_json(self.workdir / _COMPLETE, self.made_from)

    def claim_start(self) -> None:
        """Notes in the workdir what the training starts from.

        Raises `UserError` when it holds checkpoints of a training by another configuration, or from another network.
        """
        has_checkpoints = any((self.workdir / "checkpoints").glob("*"))
        changed = workdir_lib.decisive_changes(self.workdir, self.config) if has_checkpoints else ""
        if changed:
            raise UserError(
                f"{self.name} was trained with another config ({changed}): delete {self.workdir}, or run with the same "
                "config"
            )
        known = _read(self.workdir / _START).get("upstream", self.upstream)
        if has_checkpoints and not _is_same(known, self.upstream):
            raise UserError(f"the network that {self.name} starts from has changed: delete {self.workdir}")
        write_json(self.workdir / _START, {"upstream": self.upstream})

    @functools.cached_property
    def made_from(self) -> dict[str, Any]:
        """What decides the network, as JSON knows it, wherever the workdirs lie.

        Of a training its configuration and the same of what it descends from; of a network that was given its step and
        parameters. Raises `UserError` when such a network cannot be read.
        """
        if self.config is None:
            return _of_given(self.workdir)
        return {"config": json.loads(config_lib.to_json(self.config)), "upstream": self.upstream}


_COMPLETE, _START = "complete.json", "start.json"
_DECISIVE = ("train.duration", "eval.best_metric")  # the checkpoint that is measured, and started from


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _is_same(known: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two networks, each as `Run.made_from` says it, are one, as far as configurations can tell.

    Fields that were added since `known` was written count as having had their defaults, and where a workdir lies, how
    often it logs and the like count for nothing.
    """
    if not ("upstream" in known and "upstream" in now):
        return known == now
    try:
        old, new = (config_lib.from_dict(each["config"]).to_dict() for each in (known, now))
    except UserError:  # a field that is no more
        return False
    changed = [name for name in workdir_lib.differences(old, new) if name != "init_from"]
    decisive = [name for name in changed if name in _DECISIVE or not name.startswith(workdir_lib.MAY_CHANGE)]
    return not decisive and _is_same(known["upstream"], now["upstream"])


def _of_given(workdir: Path | str) -> dict[str, Any]:
    """The step and parameters of a model of the package, or of the checkpoint that would be used of a workdir."""
    if isinstance(workdir, str):
        return of_network(workdir)
    folder = workdir / "checkpoints"
    return _of_workdir(workdir, folder.stat().st_mtime_ns if folder.is_dir() else 0)


@functools.cache
def _of_workdir(workdir: Path, changed: int) -> dict[str, Any]:
    return aside.call(of_network, str(workdir), platform="cpu")


def of_network(model: str) -> dict[str, Any]:
    """Returns the step and the parameters' fingerprint of what `load_restorer` reads, and raises as it does."""
    trained = load_restorer(model)
    return {"step": trained.info["step"], "params": cells.fingerprint(trained.params)}


def runs(settings: ConfigDict, workdir: Path) -> list[Run]:
    """Returns every run of the benchmark, seed by seed, in the order of `settings.arms`.

    Raises `UserError` when an arm starts from what is neither an arm nor a workdir, from an arm that `settings.arms`
    leaves out, or from a workdir that cannot be read, or arms start from each other.
    """
    found = []
    for number in range(len(settings.seeds)):
        of_seed: dict[str, Run] = {}
        for name in _in_order(settings):
            of_seed[name] = _run(settings, workdir, name, number, of_seed)
        found += [of_seed[name] for name in settings.arms]
    return found


def _in_order(settings: ConfigDict) -> list[str]:
    """The arms, each after the one that it starts from."""
    trained_here = [name for name in settings.arms if not settings_lib.trained(settings, name)]
    starts = dict.fromkeys(settings.arms, "") | {name: settings.experiments[name].init_from for name in trained_here}
    order: list[str] = []
    for name in settings.arms:
        line, start = [], name
        while start in starts and start not in order:
            if start in line:
                circle = " from ".join([*line[line.index(start) :], start])
                raise UserError(f"arms start from each other, so that none can be trained first: {circle}")
            line.append(start)
            start = starts[start]
        order += reversed(line)
    return order


def _run(settings: ConfigDict, workdir: Path, name: str, number: int, earlier: dict[str, Run]) -> Run:
    seed, given = settings.seeds[number], settings_lib.trained(settings, name)
    if given:
        return Run(name, seed, _workdir(given[number]), None, "", {})
    config = config_lib.from_json(config_lib.to_json(settings.experiments[name]))
    config.seed, start, after, upstream = seed, config.init_from, "", {}
    if start in earlier:
        config.init_from, after, upstream = str(earlier[start].workdir), earlier[start].name, earlier[start].made_from
    elif start:
        if start in settings.experiments:
            raise UserError(
                f'{name} starts from the arm "{start}", which config.arms leaves out: add it there, with '
                f"config.trained.{start} if it is trained already, or set config.experiments.{name}.init_from"
            )
        if start not in shipped.names() and not Path(start).is_dir():
            raise UserError(f'{name} starts from "{start}", which is neither one of config.arms nor a workdir')
        upstream = _of_given(_workdir(start))
    return Run(name, seed, workdir / "arms" / f"{name}-{seed}", config, after, upstream)


def _workdir(given: str) -> Path | str:
    return given if given in shipped.names() else Path(given)
