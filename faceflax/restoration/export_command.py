"""What `faceflax export` does."""

import argparse
import functools
from pathlib import Path

from absl import logging

from faceflax.errors import UserError
from faceflax.preprocessing import console
from faceflax.restoration import exporting, networks
from faceflax.training import runtime


def run(arguments: argparse.Namespace) -> int:
    """Writes the model to one file; returns 0. Raises `UserError` when there is no such model or it cannot be done."""
    if arguments.format not in exporting.FORMATS:
        known = ", ".join(exporting.FORMATS)
        raise UserError(f'--format "{arguments.format}" does not exist; choose one of {known}')
    model = arguments.model or networks.DEFAULT
    out = Path(f"{Path(model).resolve().name}.{arguments.format}" if arguments.out is None else arguments.out)
    console.check_place(out)
    say = functools.partial(print, flush=True)  # each of these takes a while
    say(f"reading {console.printable(model)}")
    runtime.start()
    logging.set_verbosity(logging.ERROR)  # orbax tells of its every step otherwise
    function, size, description = networks.describe_restorer(model, arguments.fidelity)
    network = description["config"]["model"]
    if arguments.format == "onnx" and network["deblur"] and not network["experts"]:
        raise UserError("of networks that deblur only experts can be written as onnx; choose --format stablehlo")
    difference = exporting.export(function, size, description, arguments.format, out, say)
    print(
        f"exported {description['model']} ({description['fingerprint']}, {size} pixels, any batch) to "
        f"{console.printable(str(out))}: {out.stat().st_size / 1e6:.1f} MB, results within {difference:.0e} of the "
        "model's"
    )
    return 0
