"""What would end a benchmark after hours, found before its first training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from faceflax.errors import UserError
from faceflax.evaluation.benchmark.plan import Run
from faceflax.models import experts
from faceflax.models.interpolation import check_pair
from faceflax.training import checkpoints, loop, parallel
from faceflax.training.trained import Trained, load_plain, load_restorer


class Network(NamedTuple):
    """A network that is trained, or will be: its configuration and parameters, of which the shapes alone count."""

    config: ConfigDict
    params: Any


def check(settings: ConfigDict, runs: Sequence[Run], examples: Mapping[str, int | None]) -> None:
    """Raises `UserError` for a training that could not start, or a trained run that could not be measured.

    `examples` says how many faces each arm that is to be trained learns from; None: they are made without end.
    """
    to_train: dict[str, Network] = {}
    found: dict[str, Network] = {}
    for run in runs:
        if run.is_trained:
            found[run.name] = _read(run, settings)
        else:
            if run.arm not in to_train:
                to_train[run.arm] = _create(run, examples[run.arm])
            found[run.name] = to_train[run.arm]
    for run in runs:
        if not run.is_trained and run.config.init_from:
            start = found[run.after] if run.after else load_plain(run.config.init_from)
            _check_start(run, found[run.name], start)
    if settings.fidelity.gan:
        _check_between(settings, found)


def load(run: Run, settings: ConfigDict) -> Trained:
    """Reads what a run has trained.

    Raises `UserError` when it cannot be read, is of another size than is measured, or of another kind than its arm.
    """
    trained, arm = load_restorer(run.workdir), settings.experiments[run.arm].arm
    size = trained.config.data.image_size
    if size != settings.data.image_size:
        raise UserError(
            f"{run.workdir} was trained at {size} pixels and the benchmark measures at {settings.data.image_size}: set "
            "--config.data.image_size"
        )
    if trained.config.arm != arm:
        raise UserError(
            f'{run.workdir} holds a "{trained.config.arm}", and config.experiments.{run.arm}.arm is "{arm}": name '
            f"another one in config.trained.{run.arm}, or set --config.experiments.{run.arm}.arm={trained.config.arm}"
        )
    return trained


def _read(run: Run, settings: ConfigDict) -> Network:
    trained = load(run, settings)
    if trained.config.arm == "gan" and not run.is_shipped:
        checkpoints.load_discriminator(run.workdir)
    return Network(trained.config, trained.params)


def _create(run: Run, num_examples: int | None) -> Network:
    """Makes what the run's training makes first, without its arrays."""
    try:
        plan, devices = loop.Plan.create(run.config, num_examples), parallel.one_device()
        arm = loop.create_arm(run.config, plan, devices)
        loop.check_batch(run.config, devices)
        if arm.restore is None:
            raise UserError(f'config.arm "{run.config.arm}" trains what restores nothing; name one that restores')
        return Network(run.config, jax.eval_shape(arm.init).params)
    except UserError as error:
        raise UserError(f"{run.arm} cannot be trained: {error}") from error


def _check_between(settings: ConfigDict, found: Mapping[str, Network]) -> None:
    ends = [f"{settings.fidelity[end]}-{settings.seeds[0]}" for end in ("cnn", "gan")]
    try:
        check_pair(*(_without_experts(found[name]) for name in ends))
    except UserError as error:
        raise UserError(f"there is no fidelity curve between {' and '.join(ends)}: {error}") from error


def _without_experts(network: Network) -> Any:
    """The shapes of a network, of one with experts those of its first."""
    if not network.config.model.experts:
        return network.params
    return jax.eval_shape(lambda params: experts.select(params, 0), network.params)


def _check_start(run: Run, network: Network, start: Network | Trained) -> None:
    try:
        checkpoints.check_fits(network.config, network.params, start.config, start.params)
    except UserError as error:
        raise UserError(f"{run.name} cannot be trained: {error}") from error
