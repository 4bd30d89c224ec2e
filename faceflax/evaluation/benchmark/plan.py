"""What a benchmark trains: each arm with each seed, in which folder, and after which other."""

import dataclasses
import hashlib
import json
from pathlib import Path

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.evaluation.benchmark import settings as settings_lib
from faceflax.files import write_json
from faceflax.models import shipped


@dataclasses.dataclass(frozen=True)
class Run:
    """An arm trained with a seed.

    Attributes:
      arm: its name in `config.arms`.
      seed: one of `config.seeds`.
      workdir: where it is trained, or was; or the name of a model of the package.
      config: the experiment; None for one that was given as trained.
      after: name of the run that it starts from; "" when it starts anew, or from a workdir that is no run.
      upstream: fingerprint of the training that it starts from; "" when it starts anew.
    """

    arm: str
    seed: int
    workdir: Path | str
    config: ConfigDict | None
    after: str
    upstream: str

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
        """Whether there is nothing left to train: the workdir was given, or this very training has ended in it."""
        return self.config is None or _read(self.workdir / _COMPLETE) == {"config": self.fingerprint}

    def mark_trained(self) -> None:
        """Notes in the workdir that the training has come to its end."""
        write_json(self.workdir / _COMPLETE, {"config": self.fingerprint})

    def claim_start(self) -> None:
        """Notes in the workdir what the training starts from.

        Raises `UserError` when it holds checkpoints of a training that started from another network.
        """
        known, claimed = _read(self.workdir / _START), {"upstream": self.upstream}
        if known not in ({}, claimed) and any((self.workdir / "checkpoints").glob("*")):
            raise UserError(f"the network that {self.name} starts from has changed: delete {self.workdir}")
        write_json(self.workdir / _START, claimed)

    @property
    def fingerprint(self) -> str:
        """Of the training, and of all that it descends from; wherever the workdirs lie."""
        if self.config is None:
            return _fingerprint_of(self.workdir)
        fields = json.loads(config_lib.to_json(self.config)) | {"init_from": self.upstream}
        return _hash(json.dumps(fields, sort_keys=True))


_COMPLETE, _START = "complete.json", "start.json"


def _read(file: Path) -> dict[str, str]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _fingerprint_of(workdir: Path | str) -> str:
    """Of a model of the package, or of the configuration that a workdir of elsewhere was trained with.

    Whether it is such a workdir is seen when it is used.
    """
    if isinstance(workdir, str):
        return _hash(json.dumps(shipped.manifest(workdir), sort_keys=True))
    config = workdir / "config.json"
    return _hash(config.read_text(encoding="utf-8") if config.is_file() else "")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def runs(settings: ConfigDict, workdir: Path) -> list[Run]:
    """Returns every run of the benchmark, seed by seed, in the order of `settings.arms`.

    Raises `UserError` when an arm starts from one that is neither an arm nor a workdir, or arms start from each other.
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
        return Run(name, seed, _workdir(given[number]), None, "", "")
    config = config_lib.from_json(config_lib.to_json(settings.experiments[name]))
    config.seed, start, after, upstream = seed, config.init_from, "", ""
    if start in earlier:
        config.init_from, after, upstream = str(earlier[start].workdir), earlier[start].name, earlier[start].fingerprint
    elif start:
        if start not in shipped.names() and not Path(start).is_dir():
            raise UserError(f'{name} starts from "{start}", which is neither one of config.arms nor a workdir')
        upstream = _fingerprint_of(_workdir(start))
    return Run(name, seed, workdir / "arms" / f"{name}-{seed}", config, after, upstream)


def _workdir(given: str) -> Path | str:
    return given if given in shipped.names() else Path(given)
