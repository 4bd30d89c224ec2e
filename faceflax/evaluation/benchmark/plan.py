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


@dataclasses.dataclass(frozen=True)
class Run:
    """An arm trained with a seed.

    Attributes:
      arm: its name in `config.arms`.
      seed: one of `config.seeds`.
      workdir: where it is trained, or was.
      config: the experiment; None for a workdir that was given as trained.
      after: name of the run that it starts from; "" when it starts anew.
    """

    arm: str
    seed: int
    workdir: Path
    config: ConfigDict | None
    after: str

    @property
    def name(self) -> str:
        """The run's name in folders and tables: "gan-0"."""
        return f"{self.arm}-{self.seed}"

    @property
    def is_trained(self) -> bool:
        """Whether there is nothing left to train: the workdir was given, or this very training has ended in it."""
        if self.config is None:
            return True
        marker = self._marker
        return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == {"config": self._fingerprint}

    def mark_trained(self) -> None:
        """Notes in the workdir that the training has come to its end."""
        write_json(self._marker, {"config": self._fingerprint})

    @property
    def _marker(self) -> Path:
        return self.workdir / "complete.json"

    @property
    def _fingerprint(self) -> str:
        """Of the configuration without the place of the workdir that it starts from, which may move."""
        fields = json.loads(config_lib.to_json(self.config)) | {"init_from": self.after}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def runs(settings: ConfigDict, workdir: Path) -> list[Run]:
    """Returns every run of the benchmark, seed by seed, in the order of `settings.arms`.

    Raises `UserError` when an arm starts from one that is neither an arm nor a workdir.
    """
    found = []
    for number, seed in enumerate(settings.seeds):
        workdirs = {name: _workdir(settings, workdir, name, number) for name in settings.arms}
        found += [_run(settings, name, seed, workdirs) for name in settings.arms]
    return found


def _workdir(settings: ConfigDict, workdir: Path, name: str, number: int) -> Path:
    given = settings_lib.trained(settings, name)
    return Path(given[number]) if given else workdir / "arms" / f"{name}-{settings.seeds[number]}"


def _run(settings: ConfigDict, name: str, seed: int, workdirs: dict[str, Path]) -> Run:
    if settings_lib.trained(settings, name):
        return Run(name, seed, workdirs[name], None, "")
    config = config_lib.from_json(config_lib.to_json(settings.experiments[name]))
    config.seed = seed
    start, after = config.init_from, ""
    if start in workdirs:
        if start == name:
            raise UserError(f"config.experiments.{name}.init_from is the arm itself")
        config.init_from = str(workdirs[start])
        after = f"{start}-{seed}"
    elif start and not Path(start).is_dir():
        raise UserError(f'{name} starts from "{start}", which is neither one of config.arms nor a workdir')
    return Run(name, seed, workdirs[name], config, after)
