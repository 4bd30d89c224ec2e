"""Measures a trained network: python -m experiments.evaluate --workdir=runs/cnn [--config=configs/cnn.py ...].

Reads the averaged parameters of the workdir's best checkpoint and measures them on `data.test_split`, on all tasks
of `eval.tasks`, beside the degraded input and the classical method of each task. Writes `report/` into the workdir
and prints the table. Without --config everything is as the network was trained; with it, `data` and `eval` are taken
from there (fields as --config.eval.batch_size=8), and the network is the workdir's still.
"""

import datetime
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import program
from faceflax import config as config_lib
from faceflax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/ whose data and eval are used instead.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder that the network was trained in.")
flags.mark_flags_as_required(["workdir"])


def main() -> int:
    """Evaluates by the flags; returns the process's exit status."""
    import jax

    from faceflax import models
    from faceflax.datasets import stream
    from faceflax.evaluation.report import write_report
    from faceflax.evaluation.runner import Evaluator
    from faceflax.evaluation.tables import brief, to_text
    from faceflax.progress import progress_bar
    from faceflax.training import checkpoints, parallel, runtime, workdir

    runtime.start()
    trained = checkpoints.load_for_inference(Path(_WORKDIR.value))
    config = trained.config
    origin = _origin(Path(_WORKDIR.value), config_lib.fingerprint(config))
    if _CONFIG.value is not None:
        _check_size(_CONFIG.value.data.image_size, config.data.image_size)
        config.data, config.eval = _CONFIG.value.data, _CONFIG.value.eval
    config_lib.validate(config)
    source = _load(config)
    devices = parallel.create({"data": -1, "fsdp": 1})
    evaluator = Evaluator(models.create(config.model).apply, source, config, devices, baselines=True)
    count = stream.num_images(source, config.eval.max_images)
    with progress_bar(active=jax.process_index() == 0) as progress:
        bar = progress.add_task("evaluating", total=count * len(evaluator.tasks))
        results = evaluator(devices.replicate(trained.params), lambda images: progress.advance(bar, images))
    if jax.process_index() == 0:
        manifest = workdir.manifest(config, source.fingerprint) | {
            "step": trained.info["step"],
            "validation": trained.info["metrics"],
            "trained": origin,
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        manifest["dataset"] |= {"split": config.data.test_split, "image_size": config.data.image_size}
        written = write_report(results, Path(_WORKDIR.value) / "report", manifest)
        print(to_text(brief(results)))
        print(f"wrote {', '.join(path.name for path in written)} to {written[0].parent}")
    return 0


def _check_size(measured: int, trained: int) -> None:
    if measured != trained:
        raise UserError(
            f"the network was trained at {trained} pixels and --config measures at {measured}: "
            f"add --config.data.image_size={trained}"
        )


def _origin(workdir: Path, config: str) -> dict[str, str]:
    """The training's config fingerprint, and its commit where the workdir has a manifest."""
    from faceflax.training.workdir import read_manifest

    return {"config": config, "commit": read_manifest(workdir).get("commit", "")}


def _load(config: ConfigDict):
    from faceflax.training import examples

    return examples.load(config.data, config.data.test_split)


if __name__ == "__main__":
    program.run(main)
