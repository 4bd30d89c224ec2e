"""A scaling study's configuration: which experiment, on how many devices laid out how, and which networks and data.

A file in `configs/` defines `get_config()`, which gives `create` an experiment's configuration and changes what it
needs. The fields are locked. Comments give each field's unit.
"""

from ml_collections import ConfigDict

from faceflax import config as config_lib
from faceflax.errors import UserError
from faceflax.scaling import laws, layouts


def create(experiment: ConfigDict) -> ConfigDict:
    """Returns a new study of `experiment` (see `faceflax.config.default`)."""
    config = ConfigDict()
    config.experiment = experiment

    config.counts = (1, 2, 4, 8)  # devices; of CPUs as many are simulated
    config.layouts = ("data", "fsdp", "4x2", "2x4", "pmap", "spatial")  # see `scaling.layouts`
    config.strong_batch = 16  # images a step, over all devices, however many
    config.weak_batch = 8  # images a step and device
    config.rounds = 5  # timings of each cell
    config.steps = 3  # of one timing

    config.pods = ConfigDict()  # what is predicted for devices that are not here
    config.pods.weak_batch = 64  # images a step and device
    config.pods.strong_batch = 2048  # images a step
    config.pods.share_of_peak = 0.4  # of a device's peak, all counted operations, where that kind was not measured
    config.pods.overlap = 0.0  # share of the devices' talk that hides behind their work, likewise

    config.laws = ConfigDict()  # trainings of other sizes; each of `widths` with each of `depths`
    config.laws.widths = (4, 8, 16, 32)  # config.model.width
    config.laws.depths = (1,)  # blocks at each scale
    config.laws.seeds = (0, 1)
    config.laws.settled = 4.0  # warm-ups after which a validation is a point of the laws
    config.laws.max_epochs = 4.0  # how often an image may come again and still count as a new one
    config.laws.workers = 0  # trainings at once; 0: one for each GPU, else one
    config.lock()
    return config


def validate(config: ConfigDict) -> None:
    """Raises `UserError` for a study that cannot be made."""
    config_lib.validate(config.experiment)
    least = {"strong_batch": 1, "weak_batch": 1, "rounds": 1, "steps": 1}
    for name, limit in least.items():
        if config[name] < limit:
            raise UserError(f"config.{name} is {config[name]}; it must be at least {limit}")
    if config.weak_batch == config.strong_batch:
        raise UserError(
            f"config.weak_batch and config.strong_batch are both {config.weak_batch}; two different ones tell what a "
            "step costs by image, and what it costs whatever its batch"
        )
    if config.experiment.optim.accumulate != 1:
        raise UserError(
            f"config.experiment.optim.accumulate is {config.experiment.optim.accumulate}, but of a loop over "
            "micro-batches only one is counted: leave it at 1"
        )
    if not config.counts or min(config.counts) < 1:
        raise UserError(f"config.counts {tuple(config.counts)} must hold numbers of devices, as (1, 2, 4, 8)")
    for name in config.layouts:
        if not layouts.is_known(name):
            raise UserError(
                f'config.layouts has "{name}"; write some of {", ".join(layouts.NAMES)}, or how many devices lie along '
                "data and fsdp, as 4x2"
            )
    if not 0 < config.pods.share_of_peak <= 1 or not 0 <= config.pods.overlap <= 1:
        raise UserError("config.pods.share_of_peak and config.pods.overlap are shares: write numbers up to 1")
    _validate_laws(config.laws)


def _validate_laws(config: ConfigDict) -> None:
    sizes, seeds = len({*config.widths}) * len({*config.depths}), len({*config.seeds})
    if sizes and (sizes < laws.MIN_SIZES or seeds < laws.MIN_SEEDS):
        raise UserError(
            f"config.laws trains {sizes} size(s) with {seeds} seed(s); a law needs at least {laws.MIN_SIZES} sizes and "
            f'{laws.MIN_SEEDS} seeds, or --config.laws.widths="()" to leave the trainings out'
        )
