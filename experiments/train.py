"""Trains a network: python -m experiments.train --config=configs/cnn.py --workdir=runs/cnn [--config.FIELD=VALUE ...].

The same command goes on where a stopped run was, from its newest checkpoint. Exit status: 0 when training is complete,
143 when SIGTERM and 130 when Ctrl-C ended it after saving, 1 with one sentence for a mistake that the user can mend, 2
where no machine could train that: a wrong flag, or a configuration that is refused whatever the devices and the files.
"""

import os
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from experiments import program

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/, fields as --config.x=y.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and reports; may hold $VARIABLES.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Trains by the flags; returns the process's exit status."""
    import jax

    from faceflax import config as config_lib
    from faceflax import degradations
    from faceflax.errors import UserError, refusing
    from faceflax.evaluation import encoding, segmentation, validation
    from faceflax.training import examples, loop, prior_data, runtime, workdir

    config, folder = _CONFIG.value, Path(os.path.expandvars(_WORKDIR.value))
    with refusing():
        config_lib.validate(config)
        degradations.flatten(config.eval.tasks)
    if not _WORKDIR.value:
        raise UserError("--workdir is empty; name a folder")
    runtime.start()
    source = examples.to_train_on(config.data)
    held_out = examples.load(config.data, config.data.eval_split)
    if source is None:
        manifest = workdir.manifest(config, prior_data.fingerprint(), prior_data.NAME)
    else:
        manifest = workdir.manifest(config, source.fingerprint)
    is_first = jax.process_index() == 0
    with workdir.locked(folder, active=is_first):
        workdir.write_start(folder, config, manifest, active=is_first)
        if config.arm == "segmenter":
            make_evaluate = lambda arm: segmentation.create(held_out, config)  # noqa: E731
        elif config.arm == "encoder":
            make_evaluate = lambda arm: encoding.create(held_out, config)  # noqa: E731
        else:
            make_evaluate = lambda arm: validation.create(arm.restore, held_out, config)  # noqa: E731
        stopped_by = loop.train(config, folder, source, make_evaluate)
    return 0 if not stopped_by else 128 + stopped_by


if __name__ == "__main__":
    program.run(main)
