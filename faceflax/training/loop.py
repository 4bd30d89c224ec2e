"""The training loop. One for every network: what differs between them is the `Arm`."""

import contextlib
import dataclasses
import datetime
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from faceflax.config import num_steps
from faceflax.datasets import stream
from faceflax.errors import UserError, refusing
from faceflax.training import arms, cluster, optimizer, parallel, prior_data
from faceflax.training import workdir as workdir_lib
from faceflax.training.checkpoints import Checkpoints, load_first_params
from faceflax.training.meter import Meter, NotFiniteError, device_memory
from faceflax.training.profile import Profile, traced_steps
from faceflax.training.state import Arm, TrainState
from faceflax.training.tracking import Tracker
from faceflax.training.trained import shipped_starts

Evaluate = Callable[[Any], tuple[dict[str, float], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """When things happen, in steps."""

    total: int
    steps_per_epoch: int | None
    log_every: int
    eval_every: int
    checkpoint_every: int

    @classmethod
    def create(cls, config: ConfigDict, num_examples: int | None) -> "Plan":
        """Reads the durations of `config.train`; raises `UserError` for one that is no duration, or no step long.

        `num_examples` None says that there are no epochs.
        """
        per_epoch = None if num_examples is None else max(1, num_examples // config.data.batch_size)
        names = ("duration", "log_every", "eval_every", "checkpoint_every")
        steps = {name: num_steps(config.train[name], per_epoch) for name in names}
        for name, count in steps.items():
            if count < 1:
                raise UserError(f"config.train.{name} is {config.train[name]}, less than one step; make it longer")
        return cls(steps["duration"], per_epoch, *(steps[name] for name in names[1:]))

    def logs(self, step: int) -> bool:
        """Whether the metrics are written after `step`."""
        return step % self.log_every == 0 or step == self.total

    def evaluates(self, step: int) -> bool:
        """Whether `step` is followed by an evaluation (and so by a checkpoint that knows its result)."""
        return step % self.eval_every == 0 or step == self.total

    def keeps(self, step: int) -> bool:
        """Whether the picture of the evaluation after `step` is kept, however many follow.

        Kept are that of the first evaluation and of the first at or past each quarter of the training, the end's among
        them: five at most.
        """
        before = max(step - self.eval_every, 0)
        return before == 0 or 4 * step // self.total > 4 * before // self.total

    def saves(self, step: int) -> bool:
        """Whether `step` is followed by a checkpoint."""
        return step % self.checkpoint_every == 0 or self.evaluates(step)


def train(config: ConfigDict, workdir: Path, source: Sequence | None, make_evaluate: Callable[[Arm], Evaluate]) -> int:
    """Trains until `config.train.duration`, from the workdir's newest checkpoint if it has one.

    Args:
      config: the experiment.
      workdir: where checkpoints and metrics go; the caller holds its lock.
      source: training examples, as `datasets.registry.load` gives them; None where the steps make them themselves.
      make_evaluate: given the arm, returns `params -> (metrics, picture)`; metrics hold `config.eval.best_metric`.

    Returns:
      0 when training is complete; the number of the signal (SIGTERM, SIGINT) that ended it early, after saving.

    Raises:
      RefusedError: the configuration is of no training, whatever the devices.
      UserError: it is of none on these devices, the loss is not finite, the checkpoint is of another model, a
        pretrained network of the loss cannot be fetched, or the disk is full.
    """
    devices = parallel.create(config.parallel.mesh, config.parallel.strategy)
    with refusing():
        plan = Plan.create(config, None if source is None else len(source))
        traced = traced_steps(config.profile, plan.total)
        arm = create_arm(config, plan, devices)
    check_batch(config, devices)
    networks = arm.load_networks()
    evaluate = make_evaluate(arm)  # before what may take long: it refuses a split that cannot be evaluated on
    source = arm.prepare(source)
    with contextlib.ExitStack() as stack:
        checkpoints = Checkpoints(workdir, keep=config.train.keep, best_metric=config.eval.best_metric)
        stack.callback(checkpoints.close)
        abstract_state = devices.abstract_state(arm.init)
        state, start = _first_state(config, workdir, arm, devices, checkpoints, abstract_state)
        tracker = Tracker(config, workdir, start, active=jax.process_index() == 0)
        stack.push(lambda kind, error, trace: tracker.close(failed=kind is not None))
        tracker.print(_opening(start, plan, state, devices))
        batches = stack.enter_context(_batches(config, source, start, arm.features))
        profile = Profile(traced, workdir / "profile")
        stack.callback(profile.close)
        run = _Run(
            plan=plan,
            batch_size=config.data.batch_size,
            step_fn=devices.compile_step(arm.step, abstract_state, networks),
            batches=devices.prefetch(batches),
            evaluate=evaluate,
            checkpoints=checkpoints,
            tracker=tracker,
            profile=profile,
            meter=Meter(workdir_lib.read_start_time(workdir), tracker.last("train/kept_seconds") or 0.0),
            shown=arm.shown,
        )
        try:
            return run.until_done(state, start)
        except NotFiniteError as error:
            checkpoints.wait()
            # What was saved just before may be what the loss is not finite of.
            good = max((step for step in checkpoints.steps if step <= error.step - 2), default=None)
            raise UserError(_advice(error.step, good)) from error


def create_arm(config: ConfigDict, plan: Plan, devices: parallel.Parallel) -> Arm:
    """Makes the arm that `config` trains on `devices`; raises `UserError` for a training of `plan` that cannot be."""
    learning_rate = optimizer.schedule(config.optim, plan.total, plan.steps_per_epoch)
    arms.check_length(config, plan.total)
    return arms.create(config, learning_rate, devices.collectives)


def check_batch(config: ConfigDict, devices: parallel.Parallel) -> None:
    """Raises `UserError` for a batch that `devices` cannot share."""
    devices.check_batch(config.data.batch_size, config.optim.accumulate, config.data.image_size)


def _first_state(
    config: ConfigDict,
    workdir: Path,
    arm: Arm,
    devices: parallel.Parallel,
    checkpoints: Checkpoints,
    abstract_state: TrainState,
) -> tuple[TrainState, int]:
    """The state to go on from, and its step: the newest checkpoint, else a warm start, else a new one."""
    step = checkpoints.latest_step
    if step is not None:
        return devices.adopt_state(checkpoints.restore(abstract_state, step)), step
    if not config.init_from and not config.experts.start:
        return devices.create_state(arm.init), 0
    params, info = load_first_params(config, abstract_state.params)[1:]
    if jax.process_index() == 0:
        workdir_lib.write_origin(workdir, info["step"], shipped_starts(config))

    def start(params: Any) -> TrainState:
        state = arm.init()
        params = state.params | params  # of experts without a router a new one is kept
        return state.replace(params=params, ema=params)

    return devices.create_state(start, params), 0


@contextlib.contextmanager
def _batches(
    config: ConfigDict, source: Sequence | None, start: int, features: Mapping[str, str]
) -> Iterator[Iterator[dict[str, np.ndarray]]]:
    """Yields this process's share of the batches from step `start` on, until the context ends; see `Arm.features`."""
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    if source is None:
        yield prior_data.index_stream(config.data.batch_size, **share)
        return
    batches = stream.train_stream(source, config.data, seed=config.seed, start_step=start, features=features, **share)
    with contextlib.closing(batches):
        yield batches


def _opening(start: int, plan: Plan, state: TrainState, devices: parallel.Parallel) -> str:
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    where = f"{devices.num_devices} {jax.devices()[0].platform} device(s)"
    if start >= plan.total:
        return f"already trained for {start} steps; a longer config.train.duration goes on from there"
    return f"training {size / 1e6:.2f}M parameters on {where}, step {start} to {plan.total}"


def _advice(step: int, good: int | None) -> str:
    last = f"the last good checkpoint is step {good}" if good is not None else "no checkpoint was saved before"
    return (
        f"the loss or its gradient is not finite at step {step}; {last}; "
        "train in a new workdir with a lower config.optim.lr"
    )


@dataclasses.dataclass
class _Run:
    """The loop, and the parts it drives."""

    plan: Plan
    batch_size: int
    step_fn: Callable
    batches: Iterator
    evaluate: Evaluate
    checkpoints: Checkpoints
    tracker: Tracker
    profile: Profile
    meter: Meter
    shown: Sequence[str]

    def until_done(self, state: TrainState, step: int) -> int:
        meter, start, saved, stopped_by = self.meter, step, step, 0
        with cluster.preemption() as stops:
            while step < self.plan.total and not (stopped_by := stops(step)):
                self.profile.follow(step, meter)
                batch = meter.next_batch(self.batches)
                with meter.timed("dispatch"), jax.profiler.StepTraceAnnotation("train", step_num=step):
                    state, sums = self.step_fn(state, batch)
                step += 1
                meter.add(step, sums)
                if self.plan.logs(step) or self.plan.saves(step):
                    self._log(step)
                if self.plan.saves(step):
                    self._save(state, step)
                    saved = step
        if not meter.is_empty:
            self._log(step)
        if saved < step:
            with meter.timed("checkpoint"):
                self.checkpoints.save(state, step, None)
        if start < step:
            with meter.timed("checkpoint"):
                self.checkpoints.wait()
            self._write(step, meter.read())  # what the last evaluation and checkpoint took
        if stopped_by:
            name = signal.Signals(stopped_by).name
            self.tracker.print(f"stopped by {name} at step {step}; run the same command to go on")
        return stopped_by

    def _log(self, step: int) -> None:
        """Writes the metrics since the last line, and shows some of them."""
        means = self.meter.read()
        line = "  ".join([f"step {step}/{self.plan.total}", *(f"{name} {means[name]:#.4g}" for name in self.shown)])
        if "seconds_per_step" in means:
            seconds = means["seconds_per_step"]
            means["images_per_s"] = self.batch_size / seconds
            left = datetime.timedelta(seconds=round((self.plan.total - step) * seconds))
            line += f"  {means['images_per_s']:.1f} images/s  input wait {means['input_wait']:.1%}  {left} left"
        self.tracker.print(line)
        self._write(step, means | device_memory(jax.local_devices()))

    def _write(self, step: int, means: dict[str, float]) -> None:
        self.tracker.write(step, {f"train/{name}": value for name, value in means.items()})

    def _save(self, state: TrainState, step: int) -> None:
        """Saves a checkpoint, after an evaluation where one is due."""
        metrics = None
        if self.plan.evaluates(step):
            with self.meter.timed("evaluation"):
                metrics, picture = self.evaluate(state.ema)
            self.tracker.write(step, {f"eval/{name}": value for name, value in metrics.items()})
            self.tracker.write_image(step, "validation", picture, keep=self.plan.keeps(step))
            shown = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            self.tracker.print(f"step {step}/{self.plan.total}  evaluation: {shown}")
        with self.meter.timed("checkpoint"):
            self.checkpoints.save(state, step, metrics)
