"""An experiment that was written as JSON: the `config.json` of a workdir, to train it again.

python -m experiments.train --config=configs/saved.py:runs/cnn/config.json --workdir=runs/cnn_again

Expect the same parameters, to the last bit on the same device.
"""

from pathlib import Path

from faceflax import config as config_lib
from faceflax.errors import UserError


def get_config(path=""):
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot read {path or 'a config'}: name a file, --config=configs/saved.py:FILE.json"
        ) from error
    return config_lib.from_json(text)
