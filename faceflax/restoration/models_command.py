"""What `faceflax models` does."""

import argparse

import jax
from rich.console import Console
from rich.table import Table

from faceflax.models import shipped

CARDS = "docs/models"


def run(arguments: argparse.Namespace) -> int:
    """Lists the models that come with the package; returns 0."""
    if not shipped.names():
        print("no trained model comes with this version of faceflax; train one and pass its workdir as --model")
        return 0
    table = Table("name", "kind", "pixels", "parameters", "MB", "steps", "card", box=None)
    for name in shipped.names():
        config, params, manifest = shipped.read(name)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        table.add_row(
            name,
            shipped.kind(manifest),
            str(config.data.image_size),
            f"{count / 1e6:.2f}M",
            f"{shipped.size(name) / 1e6:.1f}",
            f"{manifest['step']:,}",
            f"{CARDS}/{name}.md",
        )
    Console().print(table)
    print("faceflax restore --model NAME uses one; without --model, the first")
    return 0
