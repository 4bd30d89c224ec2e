"""The examples that a training learns from and is validated on, as its `config.data` names them."""

from ml_collections import ConfigDict

from faceflax.datasets import registry
from faceflax.datasets.registry import Source
from faceflax.training import prior_data


def load(data: ConfigDict, split: str) -> Source:
    """Returns a split of the dataset; raises as `registry.load`."""
    return registry.load(data.dataset, split, data_dir=data.data_dir, folder=data.folder)


def to_train_on(data: ConfigDict) -> Source | None:
    """Returns the training split, None where the steps make their examples; raises as `registry.load`."""
    return None if data.source == prior_data.NAME else load(data, data.train_split)


def count(data: ConfigDict) -> int | None:
    """Returns how many there are to train on, None where they are made without end; both splits are looked for.

    Raises as `registry.load`.
    """
    load(data, data.eval_split)
    source = to_train_on(data)
    return None if source is None else len(source)
