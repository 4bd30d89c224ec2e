"""Checkpoints on disk: the newest few and the best. The only user of orbax."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from faceflax import config as config_lib
from faceflax import models
from faceflax.errors import UserError
from faceflax.models import discriminator, experts
from faceflax.models.face_encoder import compact
from faceflax.training import parallel
from faceflax.training import workdir as workdir_lib
from faceflax.training.state import TrainState
from faceflax.training.trained import Trained, load_experts, load_plain, load_restorer, named_expert, read_config


class Checkpoints:
    """The folder `workdir/checkpoints`. Saving runs in the background; `close` waits for it."""

    def __init__(self, workdir: Path, *, keep: int, best_metric: str, read_only: bool = False):
        best = preservation_policy.BestN(
            get_metric_fn=lambda metrics: metrics[best_metric], n=1, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics[best_metric],
            preservation_policy=preservation_policy.AnyPreservationPolicy([preservation_policy.LatestN(keep), best]),
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
        )
        self._folder = workdir / "checkpoints"
        self._manager = ocp.CheckpointManager(self._folder.absolute(), options=options)

    @property
    def latest_step(self) -> int | None:
        """The newest step that is whole on disk, or None."""
        return self._manager.latest_step()

    @property
    def steps(self) -> list[int]:
        """All steps that are whole on disk."""
        return list(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The step of the best validation metric, or None when none was measured."""
        measured = any(self._manager.metrics(step) for step in self.steps)
        return self._manager.best_step() if measured else None

    def save(self, state: TrainState, step: int, metrics: dict[str, float] | None) -> None:
        """Begins to save `state`; `metrics` are those of the validation at this very step, if there was one.

        Raises `UserError` when the disk has no room for it, or had none for the checkpoint before it.
        """
        self.wait()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self._folder).free
        if free < size:
            raise self._failure(f"it needs {size / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB left")
        known = metrics and {**metrics, "step": step}  # so that the newest can count as the best
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics=known, force=True)

    def restore(self, abstract_state: Any, step: int) -> Any:
        """Reads the state of `step` into the given shapes, dtypes and shardings.

        Raises `UserError` when the checkpoint is damaged, or holds other arrays because it is of another model.
        """
        return self._restore(step, abstract_state, ocp.args.StandardRestore(abstract_state))

    def restore_part(self, abstract_part: dict[str, Any], step: int) -> dict[str, Any]:
        """Reads some fields of the state of `step` alone, such as "ema"; otherwise as `restore`."""
        # Without these arguments orbax cuts or fills arrays of other shapes.
        exact = ocp.checkpoint_utils.construct_restore_args(abstract_part)
        arguments = ocp.args.PyTreeRestore(abstract_part, restore_args=exact, partial_restore=True)
        return self._restore(step, abstract_part, arguments)

    def metrics(self, step: int) -> dict[str, float] | None:
        """The validation metrics that were saved with `step`, or None."""
        known = self._manager.metrics(step)
        return known and {name: value for name, value in known.items() if name != "step"}

    def _restore(self, step: int, abstract: Any, arguments: ocp.args.CheckpointArgs) -> Any:
        folder = self._folder / str(step)
        try:
            saved = ocp.StandardCheckpointHandler().metadata(folder.absolute() / "default").tree
            matches = _shapes(abstract).items() <= _shapes(saved).items()
            restored = self._manager.restore(step, args=arguments) if matches else None
        except Exception as error:  # orbax and tensorstore raise many kinds, plain Exception among them
            raise UserError(f"the checkpoint {folder} is damaged; delete it to go on from an older one") from error
        if not matches:
            raise UserError(f"{folder} is a checkpoint of another model; use another workdir, or the same config.model")
        return restored

    def wait(self) -> None:
        """Waits until what was saved is on disk; raises `UserError` when the disk was full."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:  # tensorstore's errors are ValueErrors
            if "No space left" not in str(error):
                raise
            raise self._failure("the disk is full") from error

    def close(self) -> None:
        """Waits for saves under way and ends the background threads."""
        self.wait()
        self._manager.close()

    def _failure(self, reason: str) -> UserError:
        latest = self.latest_step
        kept = f"the last good checkpoint is step {latest}" if latest is not None else "no checkpoint was saved before"
        return UserError(f"cannot save to {self._folder}: {reason}; {kept}; free space and run the same command again")


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def load_for_inference(workdir: Path, step: int | None = None) -> Trained:
    """Reads a restorer's averaged parameters, of its workdir's best checkpoint or the newest when none was evaluated.

    A `step` chooses the checkpoint of that step instead. Raises `UserError` when the workdir holds no such checkpoint,
    one that does not fit its configuration, or no restorer.
    """
    config = workdir_lib.read_config(workdir)
    other = {"segmenter": "a segmenter", "encoder": "a face encoder"}.get(config.arm)
    if other:
        raise UserError(f"{workdir} holds {other}, which restores nothing; name the workdir of a CNN or GAN")
    return _load(workdir, config, models.create(config.model).init, step=step)


def load_segmenter(workdir: Path) -> Trained:
    """Reads a segmenter; otherwise as `load_for_inference`."""
    config = workdir_lib.read_config(workdir)
    if config.arm != "segmenter":
        raise UserError(f"{workdir} holds no segmenter; train one with configs/segmenter.py")
    return _load(workdir, config, models.create_segmenter(config.model).init)


def load_face_encoder(workdir: Path) -> Trained:
    """Reads a face encoder, without what its losses were taken with; otherwise as `load_for_inference`."""
    config = workdir_lib.read_config(workdir)
    if config.arm != "encoder":
        raise UserError(f"{workdir} holds no face encoder; train one with configs/encoder.py")
    trained = _load(workdir, config, lambda key, size: {"network": compact.init(config.encoder, key)})
    return trained._replace(params=trained.params["network"])


def load_first_params(config: ConfigDict, abstract_params: Any) -> Trained:
    """Reads what training starts from: the parameters of `config.init_from`, or of the `config.experts.start`.

    Of a face encoder they are all of another training's; of a restorer with experts, where one without is wanted, those
    of one expert (`load_plain`); beside `config.experts.start`, the router's alone. `abstract_params` are the shapes
    that are wanted. Raises `UserError` as `load_restorer`, and for other shapes.
    """
    if config.arm == "experts":
        trained = _load_experts(config)
        abstract_params = {name: shape for name, shape in abstract_params.items() if name in trained.params}
    elif config.arm != "encoder":
        trained = load_plain(config.init_from)
    else:
        workdir = Path(config.init_from)
        load_face_encoder(workdir)
        trained = _load(workdir, workdir_lib.read_config(workdir), lambda *_: abstract_params)
    check_fits(config, abstract_params, trained.config, trained.params)
    if config.arm != "encoder":
        _check_blurs(config, trained.config)
    if config.arm in ("experts", "gan"):  # a CNN may go on with holes that are filled otherwise
        _check_fills(config)
    return trained


def _load_experts(config: ConfigDict) -> Trained:
    if not config.experts.start:
        return load_restorer(config.init_from)
    names, start = config.model.experts, config.experts.start
    if len(start) != len(names):
        raise UserError(f"config.experts.start names {len(start)} networks for {len(names)} config.model.experts")
    trained = load_experts(start)
    trained.config.model.experts = names
    if config.init_from:
        trained.params[experts.ROUTER] = _load_router(config)
    return trained


def _load_router(config: ConfigDict) -> Any:
    known = load_restorer(config.init_from)
    if known.config.model.experts != config.model.experts:
        raise UserError(
            f"config.init_from {config.init_from} has no router between config.model.experts, "
            f"{config.model.experts}; leave it empty for a new one"
        )
    return known.params[experts.ROUTER]


def _check_blurs(config: ConfigDict, start: ConfigDict) -> None:
    """Raises `UserError` when a start was trained on what its blur had left: no shape tells, as `check_fits` would."""
    old, new = models.blurs(start.model), models.blurs(config.model)
    if old != new and (any(old) or config.arm == "experts"):
        raise UserError(
            f"config.model.deblur is {config.model.deblur}, but what training starts from undoes {old} first; "
            "set it to that"
        )


def _check_fills(config: ConfigDict) -> None:
    """Raises `UserError` when what training starts from, and takes holes, was trained on holes filled otherwise."""
    starts = config.experts.start or (config.init_from,)
    takes_holes = _mend_holes(config.model.experts) if config.experts.start else [True]
    is_whole = config.arm == "experts" and not config.experts.start
    for start, will_take in zip(starts, takes_holes, strict=True):
        name, tasks = named_expert(start)
        old = read_config(name).model
        is_part = old.experts and not is_whole
        took = not is_part or _mend_holes(old.experts)[old.experts.index(tasks) if tasks else 0]
        if will_take and took and old.fill != config.model.fill:
            raise UserError(
                f'config.model.fill is "{config.model.fill}", but {start}, from which training starts, was trained '
                f'with "{old.fill}"; set it to that'
            )


def _mend_holes(names: tuple[str, ...]) -> np.ndarray:
    """Tells which experts were trained on holes, bool [experts]: where none is for them the first, as on all else."""
    found = experts.are_for_holes(names)
    return found if found.any() else np.arange(len(names)) == 0


def check_fits(config: ConfigDict, params: Any, start: ConfigDict, start_params: Any) -> None:
    """Raises `UserError` unless what `config` trains can start from parameters that were trained with `start`.

    Both are trees of anything that has a shape.
    """
    if jax.tree.map(np.shape, params) == jax.tree.map(np.shape, start_params):
        return
    section = "encoder" if config.arm == "encoder" else "model"
    origin = "config.experts.start" if config.experts.start else f"config.init_from {config.init_from}"
    old, new = ({section: json.loads(config_lib.to_json(each))[section]} for each in (start, config))
    changed = workdir_lib.describe(workdir_lib.differences(old, new), old, new)
    sizes = start.data.image_size, config.data.image_size
    if not changed and sizes[0] != sizes[1]:
        raise UserError(
            f"{origin} was trained at {sizes[0]} pixels, and such a model works at its own "
            f"size alone; set config.data.image_size to it, not to {sizes[1]}"
        )
    raise UserError(
        f"{origin} holds another model{f' ({changed})' if changed else ''}; give both the same config.{section}"
    )


def load_discriminator(workdir: Path) -> Trained:
    """Reads a GAN's discriminator, as `models.discriminator.Variables`; otherwise as `load_for_inference`."""
    config = workdir_lib.read_config(workdir)
    if config.arm != "gan":
        raise UserError(f'{workdir} has no discriminator: its arm is "{config.arm}"')
    opponent = discriminator.create(config.gan)
    trained = _load(workdir, config, lambda *args: opponent.init(*args)._asdict(), field="extras")
    return trained._replace(params=discriminator.Variables(**trained.params))


def _load(
    workdir: Path,
    config: ConfigDict,
    init: Callable[[jax.Array, int], Any],
    field: str = "ema",
    step: int | None = None,
) -> Trained:
    """Reads the part of the state that `init` makes; of `extras` it may be some of the entries."""
    checkpoints = Checkpoints(workdir, keep=1, best_metric=config.eval.best_metric, read_only=True)
    if not checkpoints.steps:
        raise UserError(f"{workdir} holds no checkpoint yet; train it first")
    if step is None:
        step = checkpoints.latest_step if checkpoints.best_step is None else checkpoints.best_step
    elif step not in checkpoints.steps:
        raise UserError(f"{workdir} no longer holds its checkpoint of step {step}, only {checkpoints.steps}")
    shapes = {field: jax.eval_shape(lambda: init(jax.random.key(0), config.data.image_size))}
    part = jax.device_get(checkpoints.restore_part(parallel.on_one_device(shapes), step))
    info = {"step": step, "metrics": checkpoints.metrics(step)}
    checkpoints.close()
    return Trained(config, part[field], info)
