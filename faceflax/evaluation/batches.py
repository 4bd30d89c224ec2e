"""The images that an evaluation looks at, in batches that every device has a share of."""

from collections.abc import Iterator, Sequence

import jax
from ml_collections import ConfigDict

from faceflax.datasets import stream
from faceflax.training.parallel import Parallel


def of_split(source: Sequence, config: ConfigDict, devices: Parallel) -> Iterator[stream.Batch]:
    """Yields this process's share of each batch of `source`, as `stream.eval_stream` does, by `config.eval`."""
    per_device = -(-config.eval.batch_size // devices.num_shares)
    return stream.eval_stream(
        source,
        image_size=config.data.image_size,
        batch_size=per_device * devices.num_shares,
        max_images=config.eval.max_images,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
