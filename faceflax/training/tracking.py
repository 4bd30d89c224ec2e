"""Where a run's numbers go: `metrics.jsonl`, the console, and Weights & Biases as a mirror. The only user of wandb."""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.files import atomic_path, write_text


def read_metrics(workdir: Path, name: str) -> list[dict[str, float]]:
    """Returns the lines of the workdir's `metrics.jsonl` that have the metric `name`, in order; none without a file.

    A line that was cut short by a kill is left out.
    """
    path, found = workdir / "metrics.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            found += [record] if name in (record := json.loads(line)) else []
    return found


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line with `step` and metrics, in the order of steps, each step once."""

    def __init__(self, path: Path, resume_step: int):
        """Opens the file; lines after `resume_step` are dropped, since those steps are done again."""
        self._path = path
        self._last: dict[str, float] = {}
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) <= resume_step]
            write_text(path, "".join(kept))
            for line in kept:
                self._last |= json.loads(line)

    def last(self, name: str) -> float | None:
        """The metric's value in the newest line that has it and was there at the opening; None when none has."""
        return self._last.get(name)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line; raises `UserError` when the disk does not take it."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; free space and run again") from error


def _step_of(line: str) -> float:
    """The line's step; a line cut short by a kill counts as after every step."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")


def _summary(name: str) -> str | None:
    """What W&B's table of runs shows of a metric: its best value where one end is better, else (None) the newest."""
    words = set(re.split(r"[/ _]", name))
    if words & {"psnr", "ssim", "iou", "rank1", "tar"}:
        return "max"
    return "min" if words & {"loss", "positives"} else None


_OTHERWISE = (
    "mend the key or unset WANDB_API_KEY, or train with --config.wandb.mode=offline and `wandb sync` the run later"
)


class Wandb:
    """A run in Weights & Biases, the same one when training is taken up again."""

    def __init__(self, config: ConfigDict, workdir: Path):
        """Starts the run: online with a key, offline without, unless `config.wandb.mode` or $WANDB_MODE says which.

        Raises `UserError` for a key that cannot be one, and when the server does not answer or refuses it.
        """
        id_file = workdir / "wandb_id.txt"
        if not id_file.exists():  # a sweep names its runs itself
            write_text(id_file, os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8])
        options = {
            "project": config.wandb.project,
            "group": config.wandb.group or None,  # then $WANDB_RUN_GROUP, which a sweep sets
            "tags": list(config.wandb.tags),
            "id": id_file.read_text(encoding="utf-8").strip(),
            "name": workdir.name,
            "dir": str(workdir),
            "config": json.loads(config_lib.to_json(config)),
        }
        with _as_user_errors("run", _OTHERWISE) as wandb:
            mode = config.wandb.mode
            if mode == "auto":
                has_key = wandb.login(prompt=False, verify=False)
                mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
            resume = "allow" if mode == "online" else None
            self._run = wandb.init(mode=mode, resume=resume, settings=wandb.Settings(silent=True), **options)
        self._image = wandb.Image
        self._run.define_metric("step", hidden=True)
        self._defined: set[str] = set()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Sends the metrics of a step; each is drawn over the steps, and the runs' table shows its best value."""
        for name in metrics.keys() - self._defined:
            self._run.define_metric(name, step_metric="step", summary=_summary(name))
            self._defined.add(name)
        self._run.log({"step": step, **metrics}, step=step)

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Sends a uint8 RGB picture [H, W, 3]."""
        self._run.log({name: self._image(image)}, step=step)

    def close(self, *, failed: bool) -> None:
        """Ends the run; an offline one waits in `workdir/wandb` for `wandb sync`."""
        self._run.finish(exit_code=int(failed))


class Tracker:
    """Sends each step's numbers to all places; processes other than the first send nothing."""

    def __init__(self, config: ConfigDict, workdir: Path, resume_step: int, *, active: bool):
        self._workdir = workdir
        self._file = MetricsFile(workdir / "metrics.jsonl", resume_step) if active else None
        self._wandb = Wandb(config, workdir) if active and config.wandb.mode != "disabled" else None

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Records the metrics of a step."""
        if self._file:
            self._file.write(step, metrics)
        if self._wandb:
            self._wandb.write(step, metrics)

    def write_image(self, step: int, name: str, image: np.ndarray, *, keep: bool = False) -> None:
        """Records a uint8 RGB picture [H, W, 3]; `report/NAME.png` of the workdir is the newest.

        One to `keep` is also written to `report/NAME_STEP.png`, where no later one takes its place.
        """
        if self._file:
            encoded = cv2.imencode(".png", image[..., ::-1])[1]
            for file in (name, f"{name}_{step}")[: 1 + keep]:
                with atomic_path(self._workdir / "report" / f"{file}.png") as path:
                    path.write_bytes(encoded)
        if self._wandb:
            self._wandb.write_image(step, name, image)

    def last(self, name: str) -> float | None:
        """The metric's newest value that earlier runs of the workdir left, up to the step gone on from; see `write`."""
        return self._file.last(name) if self._file else None

    def print(self, text: str) -> None:
        """Prints one line to the console."""
        if self._file:
            print(text, flush=True)

    def close(self, *, failed: bool) -> None:
        """Ends the W&B run, as a failed one or not."""
        if self._wandb:
            self._wandb.close(failed=failed)


def register_sweep(source: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """Registers a sweep file with Weights & Biases, its command ending in `arguments`; returns the sweep's number.

    Raises `UserError` without a key, and when the server does not answer or refuses the sweep.
    """
    command = source.get("command") or ["${env}", "${interpreter}", "${program}", "${args}"]
    with _sweeps() as wandb:
        return wandb.sweep({**source, "command": [*command, *arguments]}, **_place(source))


def run_sweep_agent(identifier: str, source: Mapping[str, Any], count: int | None) -> None:
    """Runs trials of a registered sweep here until it has none left, or `count` were run.

    Raises as `register_sweep`.
    """
    with _sweeps() as wandb:
        wandb.agent(identifier, count=count, **_place(source))


def _place(source: Mapping[str, Any]) -> dict[str, Any]:
    return {"project": source.get("project", "faceflax"), "entity": source.get("entity")}


@contextlib.contextmanager
def _sweeps() -> Iterator[Any]:
    """Yields the library, once it has a key; its errors become sentences."""
    with _as_user_errors("sweep", "mend the key, or run with --backend=local, which needs no server") as wandb:
        if not wandb.login(prompt=False, verify=False):
            raise UserError("sweeps of Weights & Biases need a key: set WANDB_API_KEY, or run with --backend=local")
        yield wandb


@contextlib.contextmanager
def _as_user_errors(what: str, advice: str) -> Iterator[Any]:
    """Yields the library; what it says of `what` becomes a sentence that ends in `advice`."""
    import wandb

    try:
        yield wandb
    except (wandb.Error, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Weights & Biases does not take the {what} ({reason.rstrip('.')}); {advice}") from error
